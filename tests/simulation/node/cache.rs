//! The cache that the program puts above every storage but Kubernetes' (`src/vault/physical/cache`): values that were
//! read, kept until the journal says that they have changed.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use holdfast::vault::physical::Op;

/// A value that was read this many commits ago is not kept.
const LATE: usize = 64;

#[derive(Default)]
pub(super) struct Cache {
    /// With the number of the commit whose state a value was read from.
    entries: BTreeMap<String, (Option<Bytes>, u64)>,
    /// The keys of the newest commits.
    records: VecDeque<(u64, Vec<String>)>,
    /// The newest commit that was shown to anybody: nothing older may be shown.
    noted: u64,
    /// Counts the times that continuity was lost.
    resets: u64,
}

impl Cache {
    pub(super) fn resets(&self) -> u64 {
        self.resets
    }

    pub(super) fn note(&mut self, seq: u64) {
        self.noted = self.noted.max(seq);
    }

    /// A value, if memory, which stands at `position`, has it and is not behind anything that was shown.
    pub(super) fn get(&self, key: &str, position: u64) -> Option<Option<Bytes>> {
        let (value, seq) = self.entries.get(key)?;
        (self.noted <= position && *seq <= position).then(|| value.clone())
    }

    /// Keeps what the storage answered to a question that was asked after `resets` losses of continuity, unless the key
    /// may have changed since.
    pub(super) fn keep(&mut self, key: &str, value: Option<Bytes>, seq: u64, resets: u64, position: u64) {
        self.note(seq);
        let newer = self.records.iter().rev().take_while(|(record, _)| *record > seq);
        let is_known = position <= seq || newer.clone().count() as u64 == position - seq;
        let is_changed = !is_known || newer.clone().any(|(_, keys)| keys.iter().any(|one| one == key));
        let is_older = self.entries.get(key).is_some_and(|(_, kept)| *kept > seq);
        if self.resets == resets && !is_changed && !is_older {
            self.entries.insert(key.to_owned(), (value, seq));
        }
    }

    /// Goes forward by a commit of this node.
    pub(super) fn committed(&mut self, ops: &[Op], seq: u64) {
        for op in ops {
            let value = match op {
                Op::Put { value, .. } => Some(value.clone()),
                Op::Delete { .. } => None,
            };
            self.entries.insert(op.key().to_owned(), (value, seq));
        }
        self.push(ops.iter().map(|op| op.key().to_owned()).collect(), seq);
    }

    /// Goes forward by a record of the journal. In a wrong variant what it says is lost.
    pub(super) fn follow(&mut self, keys: &[String], seq: u64, is_lost: bool) {
        if !is_lost {
            self.entries.retain(|key, (_, kept)| *kept >= seq || !keys.contains(key));
        }
        self.push(keys.to_vec(), seq);
    }

    fn push(&mut self, keys: Vec<String>, seq: u64) {
        self.note(seq);
        self.records.push_back((seq, keys));
        if self.records.len() > LATE {
            self.records.pop_front();
        }
    }

    /// Forgets everything: how the storage came to stand at `seq` is not known.
    pub(super) fn reset(&mut self, seq: u64) {
        self.entries.clear();
        self.records.clear();
        self.resets += 1;
        self.note(seq);
    }
}
