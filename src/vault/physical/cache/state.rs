//! What a cache holds: values, and the newest records of the journal. Pure.

use std::collections::VecDeque;
use std::hash::RandomState;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};

use crate::vault::physical::backend::{Journal, Op, Value};
use crate::vault::physical::head::Head;

/// Records that are kept for feeds.
const RECORDS: usize = 4096;
/// A value that was read this many commits ago is not worth checking whether it is still the newest.
const LATE: usize = 64;
/// What an entry costs beside key and value, about.
const ENTRY_BYTES: usize = 96;

type Position = (u64, u64);

/// A value, and the sequence number of the state that it was read from.
#[derive(Debug, Clone)]
struct Entry {
    value: Option<Bytes>,
    seq: u64,
}

#[derive(Debug, Clone)]
struct Bytewise;

impl Weighter<String, Entry> for Bytewise {
    fn weight(&self, key: &String, entry: &Entry) -> u64 {
        let bytes = ENTRY_BYTES + key.len() + entry.value.as_ref().map_or(0, Bytes::len);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// A value that is in memory.
pub(super) struct Hit {
    pub(super) value: Option<Bytes>,
    pub(super) head: Head,
}

/// The memory of a cache.
pub(super) struct State {
    entries: Cache<String, Entry, Bytewise, RandomState>,
    /// The head that everything here has been brought to; `None` before the first event, or of an empty store.
    pub(super) at: Option<Head>,
    /// The newest position that this instance has shown to anybody: nothing older may be shown.
    noted: Option<Position>,
    /// The newest records, without a gap; the last one's head is `at`.
    records: VecDeque<Journal>,
    /// The head before the first of them; `None`: not known.
    base: Option<Head>,
    /// Counts the times that continuity was lost.
    pub(super) resets: u64,
}

impl State {
    /// An empty memory that will hold at most `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        let bytes_most = u64::try_from(bytes).unwrap_or(u64::MAX);
        let entries = Cache::with(
            bytes / 512 + 1,
            bytes_most,
            Bytewise,
            RandomState::new(),
            DefaultLifecycle::default(),
        );
        Self { entries, at: None, noted: None, records: VecDeque::new(), base: None, resets: 0 }
    }

    fn position(&self) -> Option<Position> {
        self.at.as_ref().map(Head::position)
    }

    /// What the kept values weigh.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// Remembers that a head at `position` was shown.
    pub(super) fn note(&mut self, position: Position) {
        self.noted = self.noted.max(Some(position));
    }

    /// Whether something newer was shown than what memory has been brought to.
    pub(super) fn is_behind(&self) -> bool {
        self.noted > self.position()
    }

    /// The value of `key`, if memory has it and is not behind anything that was shown.
    pub(super) fn get(&mut self, key: &str) -> Option<Hit> {
        let head = self.at.as_ref().filter(|head| self.noted <= Some(head.position()))?;
        let entry = self.entries.get(key).filter(|entry| entry.seq <= head.seq)?;
        Some(Hit { value: entry.value.clone(), head: head.clone() })
    }

    /// Keeps what the storage answered to a question that was asked after `resets` losses of continuity, unless the key
    /// may have changed since.
    pub(super) fn keep(&mut self, key: &str, read: &Value, resets: u64) {
        self.note(read.head.position());
        // What was read from a history that is gone must not come back under a number of the next one.
        if self.resets != resets || self.is_changed_since(key, &read.head) {
            return;
        }
        let newer = |entry: &Entry| entry.seq > read.head.seq;
        if !self.entries.peek(key).is_some_and(newer) {
            let entry = Entry { value: read.value.clone(), seq: read.head.seq };
            self.entries.insert(key.to_owned(), entry);
        }
    }

    /// Whether `key` may have changed between `head` and the present; what lies ahead is told by the records to come.
    fn is_changed_since(&self, key: &str, head: &Head) -> bool {
        let Some(at) = &self.at else { return true };
        if head.seq > at.seq || head == at {
            return false;
        }
        let newer: Vec<_> = self.records.iter().rev().take(LATE).take_while(|r| r.head != *head).collect();
        let is_known = self.base.as_ref() == Some(head) && newer.len() == self.records.len()
            || self.records.iter().rev().nth(newer.len()).is_some_and(|record| record.head == *head);
        !is_known || newer.iter().any(|record| record.keys.iter().any(|changed| changed == key))
    }

    /// Goes forward by a commit of this instance, whose operations are known.
    pub(super) fn committed(&mut self, expected: Option<&Head>, record: Journal, ops: &[Op]) {
        let seq = record.head.seq;
        self.note(record.head.position());
        // The feed was quicker, or is behind and will bring it in its turn.
        if self.at.as_ref() != expected {
            return;
        }
        self.push(record);
        for op in ops {
            let value = match op {
                Op::Put { value, .. } => Some(value.clone()),
                Op::Delete { .. } => None,
            };
            self.entries.insert(op.key().to_owned(), Entry { value, seq });
        }
    }

    /// Goes forward by a record of the feed.
    pub(super) fn follow(&mut self, record: Journal) {
        if self.at.as_ref().is_some_and(|at| at.seq >= record.head.seq) {
            // A commit of this instance that the feed brings once more.
            if self.records.iter().rev().any(|known| known.head == record.head) {
                return;
            }
            self.start_again(Some(record.head));
            return;
        }
        if self.at.as_ref().is_some_and(|at| at.seq + 1 != record.head.seq) {
            self.start_again(Some(record.head));
            return;
        }
        self.note(record.head.position());
        for key in &record.keys {
            if self.entries.peek(key).is_some_and(|entry| entry.seq < record.head.seq) {
                self.entries.remove(key);
            }
        }
        self.push(record);
    }

    fn push(&mut self, record: Journal) {
        if self.records.is_empty() {
            self.base.clone_from(&self.at);
        }
        self.at = Some(record.head.clone());
        self.records.push_back(record);
        while self.records.len() > RECORDS {
            self.base = self.records.pop_front().map(|record| record.head);
        }
    }

    /// Forgets everything: the storage stands at `head`, and how it came there is not known. True if something newer
    /// was shown before.
    pub(super) fn start_again(&mut self, head: Option<Head>) -> bool {
        self.entries.clear();
        self.records.clear();
        self.base = None;
        self.at = head;
        self.resets += 1;
        let is_behind = self.is_behind();
        self.noted = self.noted.max(self.position());
        is_behind
    }

    /// A quorum says that the storage stands at `head`, before what was shown: somebody put an older copy back.
    pub(super) fn went_back(&mut self, head: Option<&Head>) {
        self.noted = head.map(Head::position);
    }

    /// The record after `from`: `Ok(None)` if there is none yet, `Err` if memory does not go back that far.
    pub(super) fn record_after(&self, from: &Head) -> Result<Option<&Journal>, ()> {
        if self.at.as_ref() == Some(from) {
            return Ok(None);
        }
        if self.base.as_ref() == Some(from) {
            return Ok(self.records.front());
        }
        let at = self.records.iter().rposition(|record| record.head == *from).ok_or(())?;
        Ok(self.records.get(at + 1))
    }
}
