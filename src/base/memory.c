/* Copying and comparing memory: the C library's functions of these names, for x86-64.
 *
 * A static program has those of musl, which copy with string instructions that take dozens of cycles to begin and compare
 * byte by byte; a server that speaks HTTP and JSON copies a few bytes thousands of times for each request
 * (docs/adr/014-memory.md has the figures). The contracts are those of ISO C and POSIX. None of this is for comparing
 * secrets: how long memcmp takes tells where two values differ.
 *
 * What is no multiple of a piece is covered by a piece that overlaps the one before. The compiler must not take these
 * bodies for calls of what they define: build.rs tells it.
 */
#include <stddef.h>
#include <stdint.h>

typedef unsigned char byte;
typedef long long sixteen __attribute__((vector_size(16)));

/* Constant sizes: the compiler makes single moves of them. */
#define LOAD(type, from) ({ type v_; __builtin_memcpy(&v_, (from), sizeof v_); v_; })
#define STORE(to, value) ({ __typeof__(value) v_ = (value); __builtin_memcpy((to), &v_, sizeof v_); })

/* n <= 16 */
static inline void copy_short(byte *to, const byte *from, size_t n) {
	if (n >= 8) {
		uint64_t first = LOAD(uint64_t, from), last = LOAD(uint64_t, from + n - 8);
		STORE(to, first);
		STORE(to + n - 8, last);
	} else if (n >= 4) {
		uint32_t first = LOAD(uint32_t, from), last = LOAD(uint32_t, from + n - 4);
		STORE(to, first);
		STORE(to + n - 4, last);
	} else if (n >= 2) {
		uint16_t first = LOAD(uint16_t, from), last = LOAD(uint16_t, from + n - 2);
		STORE(to, first);
		STORE(to + n - 2, last);
	} else if (n == 1) {
		*to = *from;
	}
}

typedef struct {
	sixteen a, b, c, d;
} sixty_four;

static inline sixty_four load(const byte *from) {
	return (sixty_four){LOAD(sixteen, from), LOAD(sixteen, from + 16), LOAD(sixteen, from + 32), LOAD(sixteen, from + 48)};
}

static inline void store(byte *to, sixty_four piece) {
	STORE(to, piece.a);
	STORE(to + 16, piece.b);
	STORE(to + 32, piece.c);
	STORE(to + 48, piece.d);
}

void *memmove(void *to_, const void *from_, size_t n) {
	byte *to = to_;
	const byte *from = from_;
	if (n <= 16) {
		copy_short(to, from, n);
	} else if (n <= 32) {
		sixteen first = LOAD(sixteen, from), last = LOAD(sixteen, from + n - 16);
		STORE(to, first);
		STORE(to + n - 16, last);
	} else if (n <= 64) {
		sixteen a = LOAD(sixteen, from), b = LOAD(sixteen, from + 16);
		sixteen c = LOAD(sixteen, from + n - 32), d = LOAD(sixteen, from + n - 16);
		STORE(to, a);
		STORE(to + 16, b);
		STORE(to + n - 32, c);
		STORE(to + n - 16, d);
	} else {
		sixty_four first = load(from), last = load(from + n - 64);
		/* Upwards, unless `to` lies within the source: that would overwrite what is still to be read. */
		if ((uintptr_t)to - (uintptr_t)from >= n) {
			for (size_t at = 0; at < n - 64; at += 64) store(to + at, load(from + at));
			store(to + n - 64, last);
		} else {
			for (size_t end = n; end > 64; end -= 64) store(to + end - 64, load(from + end - 64));
			store(to, first);
		}
	}
	return to_;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n) __attribute__((alias("memmove")));

/* Which of two different words comes first in memory order. */
static inline int order(uint64_t a, uint64_t b) {
	return __builtin_bswap64(a) < __builtin_bswap64(b) ? -1 : 1;
}

int memcmp(const void *a_, const void *b_, size_t n) {
	const byte *a = a_, *b = b_;
	if (n < 8) {
		for (size_t at = 0; at < n; at++)
			if (a[at] != b[at]) return a[at] < b[at] ? -1 : 1;
		return 0;
	}
	for (size_t at = 0; at < n - 8; at += 8) {
		uint64_t x = LOAD(uint64_t, a + at), y = LOAD(uint64_t, b + at);
		if (x != y) return order(x, y);
	}
	uint64_t x = LOAD(uint64_t, a + n - 8), y = LOAD(uint64_t, b + n - 8);
	return x == y ? 0 : order(x, y);
}

int bcmp(const void *a, const void *b, size_t n) __attribute__((alias("memcmp")));
