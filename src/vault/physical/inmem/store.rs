//! [`Store`]: the pure core of the storage in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;

use crate::vault::physical::backend::{Commit, Journal, Limits, Listing, Op, StorageError, Value};
use crate::vault::physical::head::Head;

/// The storage as configuration names it.
pub(super) const KIND: &str = "inmem";

/// Records that the journal keeps; a reader that is further behind gets a Reset.
const JOURNAL_RECORDS: usize = 4096;

/// A key-value store with a head and a journal, as plain data.
///
/// It has the semantics of [`Backend`](crate::vault::physical::Backend) without its waiting: every method acts at once. A clone is a
/// copy of the whole content: a simulation that puts an older clone back has rolled the storage back.
#[derive(Debug, Clone)]
pub struct Store {
    limits: Limits,
    journal_records: usize,
    head: Option<Head>,
    data: BTreeMap<String, Bytes>,
    used_bytes: u64,
    /// The newest records, in order, without a gap, the last one being the head's.
    journal: VecDeque<Journal>,
    /// The head just before the oldest record; `None` if that record is init's.
    journal_base: Option<Head>,
}

impl Default for Store {
    fn default() -> Self {
        Self::with_limits(Limits {
            operations: 4096,
            commit_bytes: 32 << 20,
            value_bytes: 16 << 20,
            data_bytes: None,
        })
    }
}

impl Store {
    /// An empty store (no head) with generous limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store (no head) with `limits`.
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            journal_records: JOURNAL_RECORDS,
            head: None,
            data: BTreeMap::new(),
            used_bytes: 0,
            journal: VecDeque::new(),
            journal_base: None,
        }
    }

    /// The same store with a journal that keeps only `records` (at least one), so that readers fall behind sooner.
    #[must_use]
    pub fn keeping_journal_of(mut self, records: usize) -> Self {
        self.journal_records = records.max(1);
        self
    }

    /// The limits of commits and data.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The head; `None` while the store is not initialised.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Bytes of keys and values.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Stores `ops`, a journal record and `next`, if the head is `expected`. Never [`Commit::Unknown`].
    pub fn commit(&mut self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        if self.head.as_ref() != expected {
            return Commit::Fenced { current: self.head.clone() };
        }
        if let Err(error) = self.limits.admit(KIND, ops).and_then(|()| self.admit_growth(ops)) {
            return Commit::Refused(error);
        }
        for op in ops {
            let (old, added) = match op {
                Op::Put { key, value } => (self.data.insert(key.clone(), value.clone()), size(key, value)),
                Op::Delete { key } => (self.data.remove(key), 0),
            };
            let removed = old.map_or(0, |old| size(op.key(), &old));
            self.used_bytes = self.used_bytes.saturating_add(added).saturating_sub(removed);
        }
        let replaced = expected.filter(|expected| expected.epoch != next.epoch).cloned();
        self.journal.push_back(Journal {
            head: next.clone(),
            replaced,
            keys: ops.iter().map(|op| op.key().to_owned()).collect(),
        });
        while self.journal.len() > self.journal_records {
            self.journal_base = self.journal.pop_front().map(|record| record.head);
        }
        self.head = Some(next.clone());
        Commit::Committed
    }

    /// Whether the store stays below its data limit, or at least does not grow.
    fn admit_growth(&self, ops: &[Op]) -> Result<(), StorageError> {
        let Some(limit_bytes) = self.limits.data_bytes else { return Ok(()) };
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for op in ops {
            let bytes = match op {
                Op::Put { key, value } => size(key, value),
                Op::Delete { .. } => 0,
            };
            last.insert(op.key(), bytes);
        }
        let mut after = self.used_bytes;
        for (key, bytes) in last {
            let before = self.data.get(key).map_or(0, |value| size(key, value));
            after = after.saturating_add(bytes).saturating_sub(before);
        }
        if after > limit_bytes && after > self.used_bytes {
            return Err(StorageError::Full { storage: KIND, used_bytes: self.used_bytes, limit_bytes });
        }
        Ok(())
    }

    /// Reads one key.
    ///
    /// # Errors
    /// [`StorageError::Empty`] while there is no head.
    pub fn get(&self, key: &str) -> Result<Value, StorageError> {
        Ok(Value { value: self.data.get(key).cloned(), head: self.head_or_empty()? })
    }

    /// Keys that start with `prefix` and are greater than `after`, in byte order, at most `limit`.
    ///
    /// # Errors
    /// [`StorageError::Empty`] while there is no head.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        let head = self.head_or_empty()?;
        let (keys, more) = page(&self.data, prefix, after, limit);
        Ok(Listing { keys, more, head })
    }

    /// The records after `from`, in order, at most `limit`; `None` if the journal cannot prove that it holds every one
    /// (`from` is not in it: trimmed, or of another history).
    pub fn journal_after(&self, from: &Head, limit: usize) -> Option<Vec<Journal>> {
        let start = if self.journal_base.as_ref() == Some(from) {
            0
        } else {
            // Records are found from the end: readers are nearly always close to it.
            self.journal.len() - self.journal.iter().rev().position(|record| record.head == *from)?
        };
        Some(self.journal.iter().skip(start).take(limit).cloned().collect())
    }

    fn head_or_empty(&self) -> Result<Head, StorageError> {
        self.head.clone().ok_or(StorageError::Empty { storage: KIND })
    }
}

fn size(key: &str, value: &Bytes) -> u64 {
    u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX)
}

/// One page of a listing over any ordered map, and whether more keys follow.
pub(in crate::vault::physical) fn page<V>(
    data: &BTreeMap<String, V>,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> (Vec<String>, bool) {
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let mut rest = data
        .range::<str, _>((from, Bound::Unbounded))
        .map(|(key, _)| key)
        .take_while(|key| key.starts_with(prefix));
    let keys: Vec<String> = rest.by_ref().take(limit).cloned().collect();
    let more = rest.next().is_some();
    (keys, more)
}
