//! The program's own functions for copying and comparing memory, against loops over single bytes.
//!
//! The standard library calls them wherever a length is not known to the compiler.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::manual_memcpy)]

use std::cmp::Ordering;
use std::hint::black_box;
use std::process::Command;

use holdfast::base::random::{Random as _, SystemRandom};

/// Around every border between two ways to copy, and beyond.
const LENGTHS: std::ops::RangeInclusive<usize> = 0..=400;
const OFFSETS: std::ops::Range<usize> = 0..17;
/// Room before and behind what is copied, to see that nothing else is touched.
const MARGIN: usize = 80;

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    SystemRandom.fill(&mut noise);
    noise
}

/// What moving `length` bytes within `all` makes of it.
fn moved(all: &[u8], from: usize, to: usize, length: usize) -> Vec<u8> {
    let mut out = all.to_vec();
    for at in 0..length {
        out[to + at] = all[from + at];
    }
    out
}

/// This program would prove nothing about the C library's functions.
#[test]
fn the_functions_are_ours() {
    let program = std::env::current_exe().unwrap();
    let listed = Command::new("nm").arg("--defined-only").arg(&program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in ["memcpy", "memmove", "memcmp", "bcmp"] {
        let own = listed.lines().filter(|line| line.ends_with(&format!(" T {name}"))).count();
        assert_eq!(own, 1, "{name} is not defined in {}", program.display());
    }
    let at = |name: &str| {
        listed.lines().find(|line| line.ends_with(&format!(" T {name}"))).map(|line| &line[..16])
    };
    assert_eq!(at("memcpy"), at("memmove"), "it is another library's: there they are two");
}

#[test]
fn copies_are_exact_and_touch_nothing_else() {
    let source = noise(2 * MARGIN + *LENGTHS.end());
    let before = noise(2 * MARGIN + *LENGTHS.end());
    for length in LENGTHS {
        for from in OFFSETS {
            for to in OFFSETS {
                let (from, to) = (MARGIN / 2 + from, MARGIN / 2 + to);
                let mut target = before.clone();
                target[to..to + black_box(length)].copy_from_slice(&source[from..from + black_box(length)]);
                assert!(target[..to] == before[..to] && target[to + length..] == before[to + length..]);
                assert!(
                    (0..length).all(|at| target[to + at] == source[from + at]),
                    "{length}: {from} to {to}"
                );
            }
        }
    }
}

#[test]
fn moves_may_overlap_both_ways() {
    let before = noise(4 * *LENGTHS.end());
    let middle = *LENGTHS.end();
    for length in LENGTHS {
        for distance in (0..=MARGIN).chain([length / 2, length.saturating_sub(1), length, length + 1]) {
            for to in [middle - distance.min(middle), middle + distance] {
                let mut all = before.clone();
                all.copy_within(middle..middle + black_box(length), to);
                assert!(all == moved(&before, middle, to, length), "{length} bytes from {middle} to {to}");
            }
        }
    }
}

#[test]
fn large_copies_and_moves_are_exact() {
    let before = noise(1 << 17);
    for length in [4095, 4096, 4097, 40_000, 65_535, 65_536] {
        for (from, to) in [(0, 1), (1, 0), (7, 70), (70, 7), (0, 60_000), (60_000, 3), (5, 5)] {
            let mut all = before.clone();
            all.copy_within(from..from + black_box(length), to);
            assert!(all == moved(&before, from, to, length), "{length} bytes from {from} to {to}");
        }
    }
}

#[test]
fn comparisons_find_the_first_difference() {
    let all = noise(MARGIN + *LENGTHS.end());
    for length in (0..=100).chain([127, 128, 129, 255, 256, 400]) {
        for offset in [0, 1, 3, 8] {
            let a = &all[offset..offset + length];
            let mut b = a.to_vec();
            assert!(black_box(a) == black_box(&b[..]) && black_box(a).cmp(&b) == Ordering::Equal);
            for at in 0..length {
                // Whatever follows the first difference counts for nothing.
                for change in [1, 0x80, 0xff] {
                    b.copy_from_slice(a);
                    b[at] ^= change;
                    b[at + 1..].iter_mut().for_each(|byte| *byte = !*byte);
                    assert!(black_box(a) != black_box(&b[..]), "{length} bytes, {at}");
                    assert_eq!(black_box(a).cmp(&b), a[at].cmp(&b[at]), "{length} bytes, {at}");
                }
            }
        }
    }
}
