//! What a node holds in memory: the whole content at one head, the layout of its segments and the newest journal.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::codec::{self, Record};
use super::layout::{self, Fold, Listed, Span};
use crate::crd::store::{SegmentEntry, SegmentKind, VaultStoreHeadSpec};
use crate::vault::physical::backend::{Journal, Op};
use crate::vault::physical::head::{BatchId, Head};

/// Records of the journal that are kept for feeds.
const JOURNAL_RECORDS: usize = 4096;

/// The content at one head, as it was loaded from the head object and its segments.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) head: Option<Head>,
    pub(super) data: BTreeMap<String, Bytes>,
    pub(super) list: Vec<Listed>,
    /// Records of logs and of the head object, in order, without a gap.
    pub(super) tail: Vec<Record>,
}

/// Keys of a range of commits, some of them several times.
pub(super) struct Touched {
    runs: Vec<Arc<Vec<String>>>,
    newest: Vec<String>,
}

impl Touched {
    /// Each of them once.
    pub(super) fn in_order(self) -> Vec<String> {
        let mut keys = self.newest;
        keys.sort_unstable();
        keys.extend(self.runs.iter().flat_map(|run| run.iter().cloned()));
        // Runs hold their keys in order, which this sort makes use of: it merges them.
        keys.sort();
        keys.dedup();
        keys
    }
}

/// A node's memory. Moves forward commit by commit; `put_back` alone replaces it.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether the store was looked at since the start.
    pub(super) is_loaded: bool,
    /// Metadata of the head object as last seen; `None` if it is absent.
    pub(super) meta: Option<ObjectMeta>,
    pub(super) head: Option<Head>,
    pub(super) data: BTreeMap<String, Bytes>,
    pub(super) used_bytes: u64,
    pub(super) list: Vec<Listed>,
    /// Records after the last run.
    pub(super) tail: VecDeque<Record>,
    journal: VecDeque<Journal>,
    /// The head before the journal's first record; `None` if that is init's, or not known.
    journal_base: Option<Head>,
    /// The newest position that this instance reported to anybody: reads must have reached it.
    pub(super) noted: Option<(u64, u64)>,
    /// The epoch that this instance wrote in; it is the active one while the head is of this epoch.
    pub(super) written_epoch: Option<u64>,
    /// Segments that are written and wait for the next head to list them.
    pub(super) ready: Vec<Fold>,
    /// Up to where a merge is under way.
    pub(super) merging_through: Option<u64>,
    /// A listed segment is missing or altered: everything must be written anew from memory.
    pub(super) is_damaged: bool,
    /// A batch too large for the head whose segment is written: a resend uses it again.
    pub(super) outlined: Option<(BatchId, Fold)>,
    /// Names of segments that this instance created.
    pub(super) own: HashSet<String>,
    /// Those of them that are still to be listed.
    pub(super) pending: HashSet<String>,
}

impl State {
    /// Whether this instance wrote the present epoch.
    pub(super) fn is_active(&self) -> bool {
        self.written_epoch.is_some() && self.head.as_ref().map(|head| head.epoch) == self.written_epoch
    }

    /// The position of the head.
    pub(super) fn position(&self) -> Option<(u64, u64)> {
        self.head.as_ref().map(Head::position)
    }

    /// Records that are in the head object rather than in a segment.
    pub(super) fn inline(&self) -> impl ExactSizeIterator<Item = &Record> {
        let after = self.list.last().map(|listed| listed.entry.last);
        let start = after.map_or(0, |after| self.tail.partition_point(|record| record.head.seq <= after));
        self.tail.range(start..)
    }

    /// Their size in bytes, about.
    pub(super) fn inline_bytes(&self) -> usize {
        self.inline().map(|record| codec::ops_bytes(&record.ops) + 64).sum()
    }

    /// The data's size after `ops`.
    pub(super) fn used_after(&self, ops: &[Op]) -> u64 {
        let mut changed: BTreeMap<&str, u64> = BTreeMap::new();
        for op in ops {
            changed.insert(op.key(), if matches!(op, Op::Put { .. }) { as_u64(op.size_bytes()) } else { 0 });
        }
        changed.into_iter().fold(self.used_bytes, |sum, (key, bytes)| {
            let before = self.data.get(key).map_or(0, |value| as_u64(key.len() + value.len()));
            sum.saturating_add(bytes).saturating_sub(before)
        })
    }

    /// Goes forward by `records` as far as they continue the present head; false if they do not lead to `head`.
    pub(super) fn advance(&mut self, records: Vec<Record>, head: &Head) -> bool {
        let Some(at) = &self.head else { return false };
        let follows = |record: &Record| record.previous == Some(at.batch_id) && record.head.seq > at.seq;
        let Some(start) = records.iter().position(follows) else { return false };
        if records.last().map(|record| &record.head) != Some(head) {
            return false;
        }
        for record in records.into_iter().skip(start) {
            self.apply(record);
        }
        true
    }

    /// Goes forward by one commit.
    pub(super) fn apply(&mut self, record: Record) {
        self.used_bytes = self.used_after(&record.ops);
        for op in &record.ops {
            match op {
                Op::Put { key, value } => {
                    self.data.insert(key.clone(), value.clone());
                }
                Op::Delete { key } => {
                    self.data.remove(key);
                }
            }
        }
        if self.journal.is_empty() {
            self.journal_base.clone_from(&self.head);
        }
        self.journal.push_back(journal_of(&record));
        while self.journal.len() > JOURNAL_RECORDS {
            self.journal_base = self.journal.pop_front().map(|record| record.head);
        }
        self.note(record.head.position());
        self.head = Some(record.head.clone());
        self.tail.push_back(record);
        if !self.is_active() {
            self.abandon();
        }
    }

    /// Forgets segments that wait to be listed: another node decides what is listed now.
    fn abandon(&mut self) {
        self.ready.clear();
        self.pending.clear();
        self.outlined = None;
        self.merging_through = None;
        self.is_damaged = false;
    }

    /// Remembers that a head at `position` was reported.
    pub(super) fn note(&mut self, position: (u64, u64)) {
        self.noted = self.noted.max(Some(position));
    }

    /// Takes over metadata and list of a head object whose head is the present one. False if the list names segments
    /// whose content cannot be derived from memory: everything must be loaded.
    pub(super) fn adopt(&mut self, meta: ObjectMeta, spec: &VaultStoreHeadSpec) -> bool {
        let same = self.list.len() == spec.segments.len()
            && self.list.iter().zip(&spec.segments).all(|(listed, entry)| listed.entry == *entry);
        if !same {
            let mut list = Vec::with_capacity(spec.segments.len());
            let mut after = None;
            for entry in &spec.segments {
                let Some(listed) = self.derive(entry, after) else { return false };
                after = Some(entry.last);
                list.push(listed);
            }
            self.set_list(list);
        }
        self.meta = Some(meta);
        true
    }

    /// What is known about `entry`, which covers the commits after `after`.
    fn derive(&self, entry: &SegmentEntry, after: Option<u64>) -> Option<Listed> {
        if let Some(known) = self.list.iter().find(|listed| listed.entry.name == entry.name) {
            return Some(Listed { entry: entry.clone(), ..known.clone() });
        }
        let end = self
            .tail
            .iter()
            .map(|record| &record.head)
            .chain(self.list.iter().map(|listed| &listed.end))
            .find(|head| head.seq == entry.last)?
            .clone();
        let span = Span { after, through: entry.last };
        let keys = match entry.kind {
            SegmentKind::Log => Vec::new(),
            SegmentKind::Run => self.keys_of(span),
        };
        Some(Listed { entry: entry.clone(), end, keys: keys.into(), parts: None })
    }

    /// Keys that the commits of `span` touched; possibly more, never fewer.
    pub(super) fn keys_of(&self, span: Span) -> Vec<String> {
        self.touched(span).in_order()
    }

    /// What tells the keys of [`State::keys_of`], quickly: putting them in order takes its time in a large vault.
    pub(super) fn touched(&self, span: Span) -> Touched {
        let mut runs = Vec::new();
        let mut before = None;
        for listed in &self.list {
            // An entry that overlaps the range counts whole.
            let overlaps = span.after.is_none_or(|after| listed.entry.last > after)
                && before.is_none_or(|before| before < span.through);
            if overlaps {
                runs.push(Arc::clone(&listed.keys));
            }
            before = Some(listed.entry.last);
        }
        let records = self.records_of(span);
        let newest = records.flat_map(|record| record.ops.iter().map(|op| op.key().to_owned())).collect();
        Touched { runs, newest }
    }

    /// Records of `span` that are in memory.
    pub(super) fn records_of(&self, span: Span) -> impl ExactSizeIterator<Item = &Record> {
        let start =
            span.after.map_or(0, |after| self.tail.partition_point(|record| record.head.seq <= after));
        let stop = self.tail.partition_point(|record| record.head.seq <= span.through).max(start);
        self.tail.range(start..stop)
    }

    /// The list as it will be with everything that is ready, and whether anything is.
    pub(super) fn list_with_ready(&self) -> (Vec<Listed>, bool) {
        let mut list = self.list.clone();
        let mut is_changed = false;
        for fold in &self.ready {
            if let Some(next) = layout::folded(&list, fold) {
                list = next;
                is_changed = true;
            }
        }
        (list, is_changed)
    }

    /// Takes over a list that was stored; folds that are in it, or do not fit it any more, are forgotten.
    pub(super) fn set_list(&mut self, list: Vec<Listed>) {
        self.list = list;
        let done: Vec<Fold> = self
            .ready
            .extract_if(.., |fold| {
                self.list.iter().any(|listed| listed.entry.name == fold.listed.entry.name)
                    || layout::folded(&self.list, fold).is_none()
            })
            .collect();
        for fold in done {
            if fold.listed.entry.kind == SegmentKind::Run {
                self.merging_through = None;
            }
            for name in fold.listed.names() {
                self.pending.remove(name);
            }
        }
        let last_run = self.list.iter().rev().find(|listed| listed.entry.kind == SegmentKind::Run);
        if let Some(through) = last_run.map(|listed| listed.entry.last) {
            while self.tail.front().is_some_and(|record| record.head.seq <= through) {
                self.tail.pop_front();
            }
        }
    }

    /// Replaces the content, because continuity with it could not be proven.
    pub(super) fn put_back(&mut self, meta: Option<ObjectMeta>, loaded: Loaded) {
        self.is_loaded = true;
        self.meta = meta;
        self.used_bytes = loaded.data.iter().map(|(key, value)| as_u64(key.len() + value.len())).sum();
        self.data = loaded.data;
        // Logs carry on after the last run, or from init: that is where the journal of this memory begins.
        let last_run = loaded.list.iter().rev().find(|listed| listed.entry.kind == SegmentKind::Run);
        self.journal_base = last_run.map(|listed| listed.end.clone());
        self.journal = loaded.tail.iter().map(journal_of).collect();
        self.tail = loaded.tail.into();
        self.head = loaded.head;
        self.noted = self.position();
        self.abandon();
        self.set_list(loaded.list);
        while self.journal.len() > JOURNAL_RECORDS {
            self.journal_base = self.journal.pop_front().map(|record| record.head);
        }
    }

    /// The journal's record after `from`; `None` if it cannot be proven which that is.
    pub(super) fn journal_after(&self, from: &Head) -> Option<&Journal> {
        if self.journal_base.as_ref() == Some(from) {
            return self.journal.front();
        }
        let at = self.journal.iter().rposition(|record| record.head == *from)?;
        self.journal.get(at + 1)
    }
}

fn journal_of(record: &Record) -> Journal {
    Journal {
        head: record.head.clone(),
        replaced: record.replaced.clone(),
        keys: record.ops.iter().map(|op| op.key().to_owned()).collect(),
    }
}

/// A resource version as a number, to tell older from newer; zero if it is none.
pub(super) fn version(meta: &ObjectMeta) -> u128 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn as_u64(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
