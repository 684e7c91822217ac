//! The storages that a vault may live in, as far as commits go: what each compares, which outcomes it leaves unknown,
//! how late a request may still take effect, and what its reads return.
//!
//! A storage here is its servers ([`Storage`]) and what a backend makes of their answers ([`client`]): several requests
//! make a commit, and everything between them can fail.

pub mod client;
pub mod objects;
mod row;

use std::sync::Arc;

use bytes::Bytes;
use holdfast::base::random::Random;
use holdfast::vault::physical::{BatchId, Head, Journal, Op};

use crate::history::Time;
use objects::{Data, Entry, List, Objects};
use row::{Row, Statement};

/// Records that the journal keeps: few, so that nodes that were away meet a reset.
const JOURNAL_RECORDS: usize = 48;
/// Most records of one page.
const PAGE: usize = 8;
/// How far behind the leader a follower of the storage may be.
const LAG: Time = 700_000;

/// A storage by what it promises about commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Semantics {
    /// PUT of one object with its version, which others may move; nodes read their memory.
    Kubernetes,
    /// A transaction that compares the value of the head, and says in the same moment what it is.
    Etcd,
    /// A transaction that compares the index of the head, which others may move, and the mark of its batch.
    Consul,
    /// A `multi` that compares the node and the version of the head; a claim moves it to another node.
    Zookeeper,
    /// A statement that compares the head and may hold its row, or wait for it, for long, whoever still listens.
    Postgresql,
}

impl Semantics {
    pub const ALL: [Self; 5] =
        [Self::Kubernetes, Self::Etcd, Self::Consul, Self::Zookeeper, Self::Postgresql];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Etcd => "etcd",
            Self::Consul => "consul",
            Self::Zookeeper => "zookeeper",
            Self::Postgresql => "postgresql",
        }
    }

    /// Whether nodes hold all data in memory and follow one object, rather than ask the storage for both.
    pub fn is_object(self) -> bool {
        self == Self::Kubernetes
    }

    /// Whether somebody else can move the version that commits compare, without a commit.
    fn can_be_touched(self) -> bool {
        matches!(self, Self::Kubernetes | Self::Consul | Self::Zookeeper)
    }
}

/// A head as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub head: Head,
    /// The node that it lies in, where claims move it.
    pub name: u64,
    /// A version, an index or nothing, depending on the storage.
    pub version: u64,
}

/// What a commit stores.
#[derive(Debug, Clone)]
pub struct Change {
    /// The head that it is meant to follow; servers look at what commits compare instead.
    pub after: Option<Head>,
    pub next: Head,
    pub ops: Vec<Op>,
    /// What the head object lists from then on, if the commit says so.
    pub list: Option<List>,
}

/// What a commit compares.
#[derive(Debug, Clone)]
pub enum Compare {
    /// The version of an object.
    Version(u64),
    /// The whole head.
    Head(Head),
    /// The index of a key, and that the mark of this batch is there.
    Index(u64, BatchId),
    /// A node, and its version.
    Node(u64, u64),
}

/// What the servers answer to a write, or to a look at the head by a quorum.
#[derive(Debug, Clone)]
pub enum Said {
    Stored(Known),
    /// Nothing was stored; the head, where the answer names it.
    Refused(Option<Head>),
    Is(Known),
    /// An error that says nothing about what becomes of the request.
    Error,
}

/// The next records of the journal.
#[derive(Debug, Clone)]
pub enum Page {
    Records(Vec<Arc<Entry>>),
    /// The journal does not reach so far back.
    Reset(Head),
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    pub node: usize,
    pub incarnation: u64,
    pub tag: u64,
    /// A repeated packet: nobody waits.
    pub is_mute: bool,
}

/// The servers of a storage.
pub struct Storage {
    pub semantics: Semantics,
    pub objects: Objects,
    /// All commits. Nodes see no more of it than the storage shows them.
    pub log: Vec<Arc<Entry>>,
    /// Whether commits compare anything; in a wrong variant they do not.
    pub compares: bool,
    /// Whether reads may be answered by a follower that lags; only in a wrong variant.
    pub lags: bool,
    /// The first commit that was stored after another head than it was meant to follow.
    pub misfit: Option<Head>,
    /// When each commit was stored.
    times: Vec<Time>,
    known: Option<Known>,
    /// Counts versions, as a store's index does.
    moves: u64,
    row: Row,
}

impl Storage {
    pub fn new(semantics: Semantics) -> Self {
        Self {
            semantics,
            objects: Objects::default(),
            log: Vec::new(),
            compares: true,
            lags: false,
            misfit: None,
            times: Vec::new(),
            known: None,
            moves: 0,
            row: Row::default(),
        }
    }

    /// Initialises the store, as init does.
    pub fn found(&mut self, head: Head) {
        self.apply(Change { after: None, next: head, ops: Vec::new(), list: None }, 0);
    }

    pub fn head(&self) -> Option<&Head> {
        self.known.as_ref().map(|known| &known.head)
    }

    /// The head and its version, as a watch on its object shows them.
    pub fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// A look at the head by a quorum.
    pub fn look(&self) -> Said {
        self.known.clone().map_or(Said::Error, Said::Is)
    }

    /// Somebody else writes something beside the head, or the same head again. False if commits do not notice.
    pub fn touch(&mut self) -> bool {
        if !self.semantics.can_be_touched() {
            return false;
        }
        self.moves += 1;
        if let Some(known) = &mut self.known {
            known.version =
                if self.semantics == Semantics::Zookeeper { known.version + 1 } else { self.moves };
        }
        true
    }

    fn is_as_expected(&self, compare: &Compare) -> bool {
        let Some(known) = &self.known else { return false };
        !self.compares
            || match compare {
                Compare::Version(version) => known.version == *version,
                Compare::Head(head) => known.head == *head,
                Compare::Index(index, mark) => known.version == *index && known.head.batch_id == *mark,
                Compare::Node(name, version) => (known.name, known.version) == (*name, *version),
            }
    }

    /// Carries out a commit at one moment. A statement may take longer: its answer comes from [`Storage::go_on`].
    pub fn commit(&mut self, sender: Sender, compare: Compare, change: Change, now: Time) -> Option<Said> {
        if self.semantics == Semantics::Postgresql {
            self.row.arrives(Statement::new(sender, compare, change, now));
            return None;
        }
        if self.is_as_expected(&compare) {
            return Some(Said::Stored(self.apply(change, now)));
        }
        let is_told = self.semantics == Semantics::Etcd;
        Some(Said::Refused(self.head().filter(|_| is_told).cloned()))
    }

    /// Moves waiting statements on; `acts` says whether a sender can do something about who holds the row.
    pub fn go_on(
        &mut self,
        now: Time,
        random: &dyn Random,
        acts: impl Fn(&Sender) -> bool,
    ) -> Vec<(Sender, Said)> {
        let mut row = std::mem::take(&mut self.row);
        let answers = row.go_on(now, random, acts, self);
        self.row = row;
        answers
    }

    /// When statements are to be moved on.
    pub fn wakes(&self, now: Time) -> Option<Time> {
        self.row.wakes(now)
    }

    /// The server ends: what has not committed never will.
    pub fn restart(&mut self) -> Vec<(Sender, Said)> {
        self.row.abandon()
    }

    /// Sessions that a claim ended, and commits that nobody waited for any more.
    pub fn row_counts(&self) -> (u64, u64) {
        (self.row.ended, self.row.late)
    }

    fn apply(&mut self, mut change: Change, now: Time) -> Known {
        if self.head() != change.after.as_ref() {
            self.misfit.get_or_insert_with(|| change.next.clone());
        }
        // In a wrong variant the numbers would not follow each other.
        change.next.seq = self.log.len() as u64 + 1;
        let replaced = self.head().filter(|head| head.epoch != change.next.epoch).cloned();
        let has_moved = replaced.is_some();
        let keys = change.ops.iter().map(|op| op.key().to_owned()).collect();
        let head = change.next;
        let journal = Journal { head: head.clone(), replaced, keys };
        self.log.push(Arc::new(Entry { journal, ops: change.ops }));
        self.times.push(now);
        self.objects.committed(change.list);
        self.moves += 1;
        let before = self.known.as_ref().map_or((0, 0), |known| (known.name, known.version));
        let (name, version) = match self.semantics {
            Semantics::Zookeeper if has_moved => (before.0 + 1, 0),
            Semantics::Zookeeper => (before.0, before.1 + 1),
            _ => (0, self.moves),
        };
        let known = Known { head, name, version };
        self.known = Some(known.clone());
        known
    }

    /// How many commits a read sees that is answered now.
    fn seen(&self, now: Time, random: &dyn Random) -> usize {
        if !self.lags || random.below(3) != 0 {
            return self.log.len();
        }
        let until = now.saturating_sub(random.below(LAG));
        self.times.iter().take_while(|time| **time <= until).count().max(1)
    }

    /// The records after the commit `after`.
    pub fn page(&self, after: u64, now: Time, random: &dyn Random) -> Option<Page> {
        let seen = self.seen(now, random);
        let start = after as usize;
        if after == 0 || start + JOURNAL_RECORDS < seen {
            return Some(Page::Reset(self.log.get(seen.checked_sub(1)?)?.journal.head.clone()));
        }
        let end = seen.min(start + PAGE);
        Some(Page::Records(self.log.get(start..end).unwrap_or_default().to_vec()))
    }

    /// A value, with the head of the very same state.
    pub fn get(&self, key: &str, now: Time, random: &dyn Random) -> Option<(Option<Bytes>, Head)> {
        let seen = &self.log[..self.seen(now, random)];
        let written = seen.iter().rev().flat_map(|entry| entry.ops.iter().rev()).find(|op| op.key() == key);
        let value = written.and_then(|op| match op {
            Op::Put { value, .. } => Some(value.clone()),
            Op::Delete { .. } => None,
        });
        Some((value, seen.last()?.journal.head.clone()))
    }

    /// All that was committed.
    pub fn content(&self) -> Data {
        let mut data = Data::new();
        self.log.iter().for_each(|entry| entry.apply(&mut data));
        data
    }
}
