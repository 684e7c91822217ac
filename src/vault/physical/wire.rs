//! How heads, journal records and locks are written by every storage that keeps them as values of its own.
//!
//! The text is JSON with the fields in a fixed order: a head that is compared as bytes equals another one only if
//! every field does.

use super::backend::Journal;
use super::head::Head;
use super::register::LockRecord;

/// Records that a journal keeps; a reader that is further behind gets a Reset. Every commit removes the record that
/// is this much older than its own.
pub const JOURNAL_RECORDS: u64 = 4096;

/// The bytes of a head.
pub fn head_bytes(head: &Head) -> Vec<u8> {
    // A struct of texts and numbers always has a JSON form.
    serde_json::to_vec(head).unwrap_or_default()
}

/// Reads a head.
///
/// # Errors
/// What is wrong with the bytes.
pub fn head(bytes: &[u8]) -> Result<Head, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the head cannot be read: {error}"))
}

/// The bytes of a record of the journal.
pub fn journal_bytes(record: &Journal) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

/// Reads a record of the journal.
///
/// # Errors
/// What is wrong with the bytes.
pub fn journal(bytes: &[u8]) -> Result<Journal, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("a record of the journal cannot be read: {error}"))
}

/// The bytes of a lock's content.
pub fn lock_bytes(record: &LockRecord) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

/// Reads a lock's content.
///
/// # Errors
/// What is wrong with the bytes.
pub fn lock(bytes: &[u8]) -> Result<LockRecord, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the lock cannot be read: {error}"))
}

/// A sequence number as text whose byte order is the order of numbers.
pub fn seq_text(seq: u64) -> String {
    format!("{seq:020}")
}

/// The record of the commit that replaces `expected` by `next` and touches `keys`.
pub fn record_of(expected: Option<&Head>, next: &Head, keys: Vec<String>) -> Journal {
    let replaced = expected.filter(|expected| expected.epoch != next.epoch).cloned();
    Journal { head: next.clone(), replaced, keys }
}

/// The sequence number whose record the commit of `next` removes from the journal; `None` while it is short.
pub fn trimmed_by(next: &Head) -> Option<u64> {
    next.seq.checked_sub(JOURNAL_RECORDS).filter(|seq| *seq > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixMillis;
    use crate::base::random::SeededRandom;
    use crate::vault::physical::head::{BatchId, LockName};

    fn some_head() -> Head {
        Head {
            cluster: "c".into(),
            lock: LockName { kind: "etcd".to_owned(), namespace: "n".to_owned(), name: "l".to_owned() }
                .into(),
            epoch: 3,
            seq: 4097,
            batch_id: BatchId::new(&SeededRandom::new(1)),
            node: "vault-0".into(),
            format: 1,
            time: UnixMillis(7),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let head_before = some_head();
        assert_eq!(head(&head_bytes(&head_before)), Ok(head_before.clone()));
        let next = Head { epoch: 4, seq: 4098, ..head_before.clone() };
        let record = record_of(Some(&head_before), &next, vec!["a".to_owned()]);
        assert_eq!(record.replaced.as_ref(), Some(&head_before), "a claim names what it replaced");
        assert_eq!(journal(&journal_bytes(&record)), Ok(record));
        let lock_before = LockRecord { holder: "h".to_owned(), renewals: 5, ..LockRecord::default() };
        assert_eq!(lock(&lock_bytes(&lock_before)), Ok(lock_before));
        assert!(head(b"{}").unwrap_err().starts_with("the head cannot be read"));
    }

    #[test]
    fn heads_that_differ_in_any_field_differ_in_bytes() {
        let base = some_head();
        let others = [
            Head { cluster: "d".into(), ..base.clone() },
            Head { epoch: 2, ..base.clone() },
            Head { batch_id: BatchId::new(&SeededRandom::new(2)), ..base.clone() },
            Head { time: UnixMillis(8), ..base.clone() },
        ];
        for other in others {
            assert_ne!(head_bytes(&other), head_bytes(&base));
        }
    }

    #[test]
    fn numbers_sort_as_text_and_the_journal_is_trimmed_one_by_one() {
        assert!(seq_text(9) < seq_text(10) && seq_text(10) < seq_text(u64::MAX));
        assert_eq!(trimmed_by(&Head { seq: JOURNAL_RECORDS, ..some_head() }), None);
        assert_eq!(trimmed_by(&some_head()), Some(1));
    }
}
