//! Where everything lies under `path`.

use bytes::Bytes;

use super::proto::{Compare, RangeRequest};
use crate::vault::physical::wire;

/// The keys of one store; `path` ends with a slash.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    path: String,
}

impl Keys {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.to_owned() }
    }

    /// What all keys begin with.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn at(&self, name: &str) -> Bytes {
        Bytes::from(format!("{}{name}", self.path))
    }

    pub(super) fn head(&self) -> Bytes {
        self.at("head")
    }

    pub(super) fn lock(&self) -> Bytes {
        self.at("lock")
    }

    /// The record of the commit with this sequence number.
    pub(super) fn record(&self, seq: u64) -> Bytes {
        self.at(&format!("journal/{}", wire::seq_text(seq)))
    }

    pub(super) fn data(&self, key: &str) -> Bytes {
        self.at(&format!("data/{key}"))
    }

    /// The key of data that lies at `key` of etcd.
    pub(super) fn data_name<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        let rest = key.strip_prefix(self.path.as_bytes())?.strip_prefix(b"data/")?;
        std::str::from_utf8(rest).ok()
    }

    /// The records from `from_seq` on, at most `limit`.
    pub(super) fn records(&self, from_seq: u64, limit: usize) -> RangeRequest {
        RangeRequest {
            key: self.record(from_seq),
            range_end: after_all(&self.at("journal/")),
            limit: number(limit),
            keys_only: false,
        }
    }

    /// The keys of data that begin with `prefix` and are greater than `after`, at most `limit`; `None` if there can be none.
    pub(super) fn listing(&self, prefix: &str, after: Option<&str>, limit: usize) -> Option<RangeRequest> {
        let key = match after {
            // The least key that is greater: the same with a zero byte behind it.
            Some(after) if after >= prefix => self.data(&format!("{after}\0")),
            _ => self.data(prefix),
        };
        let range_end = after_all(&self.data(prefix));
        (key < range_end).then(|| RangeRequest { key, range_end, limit: number(limit), keys_only: true })
    }

    /// Any key under `path`.
    pub(super) fn any(&self) -> RangeRequest {
        let key = self.at("");
        let range_end = after_all(&key);
        RangeRequest { key, range_end, limit: 1, keys_only: true }
    }

    /// There is nothing under `path` but, perhaps, the lock.
    pub(super) fn nothing_but_the_lock(&self) -> [Compare; 2] {
        let all = self.at("");
        let end = after_all(&all);
        [Compare::absent(all, self.lock()), Compare::absent(self.at("lock\0"), end)]
    }
}

/// The least key that is greater than every key with this prefix.
fn after_all(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    // Everything from the prefix on.
    Bytes::from_static(b"\0")
}

/// A limit as etcd counts it: 0 would be none at all.
fn number(limit: usize) -> i64 {
    i64::try_from(limit.max(1)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_they_should() {
        let keys = Keys::new("/vault/");
        assert_eq!(keys.record(7), "/vault/journal/00000000000000000007");
        assert_eq!(keys.data_name(b"/vault/data/a/b"), Some("a/b"));
        assert_eq!(keys.data_name(b"/vault/head"), None);
        let holds = |range: &RangeRequest, key: &str| {
            let key = keys.data(key);
            range.key <= key && key < range.range_end
        };
        let all = keys.listing("", None, 10).unwrap();
        assert!(holds(&all, "a") && holds(&all, "\u{10ffff}"));
        assert!(all.range_end > all.key && all.range_end < keys.head() && keys.record(0) > keys.head());
        let page = keys.listing("a/", Some("a/1"), 10).unwrap();
        assert!(!holds(&page, "a/1") && holds(&page, "a/1 ") && holds(&page, "a/10") && !holds(&page, "a0"));
        assert!(holds(&keys.listing("a/", Some("A"), 10).unwrap(), "a/"));
        assert!(keys.listing("a/", Some("b"), 10).is_none());
        assert_eq!(keys.listing("a/", None, 0).unwrap().limit, 1);
        assert_eq!(after_all(b"a\xff"), "b");
        assert_eq!(after_all(b"\xff"), "\0");
    }

    #[test]
    fn only_the_lock_is_left_out_of_what_must_be_empty() {
        let keys = Keys::new("/vault/");
        let [before, behind] = keys.nothing_but_the_lock();
        let is_covered = |key: &[u8]| {
            [&before, &behind].iter().any(|part| part.key <= key && key < part.range_end.as_ref())
        };
        for key in ["head", "data/a", "journal/1", "core/keyring", "lock2", "logical/x", "sys/policy/y"] {
            assert!(is_covered(&keys.at(key)), "{key}");
        }
        assert!(!is_covered(&keys.lock()));
        assert!(!is_covered(b"/vault0"));
    }
}
