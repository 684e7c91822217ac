//! Storages that break one rule each, around a real one: what the harness must notice.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use holdfast::config::{Environment, Settings, parse};
use holdfast::vault::node::{BackendFactory, BackendTable, OpenError, OpenStorage, Surroundings};
use holdfast::vault::physical::{
    Backend, Commit, Feed, FeedEvent, Head, Limits, Listing, Op, StorageError, Value,
};
use tokio::sync::Mutex as Turn;

/// The type of storage as a configuration names it: `storage "wrong" { inner = "FILE" variant = "NAME" }`.
pub const KIND: &str = "wrong";

/// How often a late batch is tried.
const LATE: u32 = 400;
/// So many commits of a process are answered before an answer is lost; setting a cluster up needs fewer.
const ANSWERED: usize = 64;
/// When a storage with a copy of its own answers from it, if the real one is silent.
const SILENCE: Duration = Duration::from_millis(200);

/// Which rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// None: the wrapper alone, and its copy of what was read, must change nothing.
    Right,
    /// What was fenced is stored all the same, over whatever head there is.
    NoHeadCompare,
    /// A commit is called committed before the storage has it.
    AcknowledgeBeforeCommit,
    /// The proof of leadership says what this node knew last, without asking the storage. It has a copy, as a storage may:
    /// what the real one must be asked for is hardly ever stale.
    NoReadLease,
    /// A commit without an answer is called refused.
    UnknownTakenAsNotApplied,
    /// A value that was read once is never read again, whoever changed it.
    ReadsFromMemory,
}

/// The wrong ones.
pub const WRONG: [Variant; 5] = [
    Variant::NoHeadCompare,
    Variant::AcknowledgeBeforeCommit,
    Variant::NoReadLease,
    Variant::UnknownTakenAsNotApplied,
    Variant::ReadsFromMemory,
];

impl Variant {
    /// Whether the storage has a copy of what this node read and wrote since it leads, and answers from it while the real one
    /// is silent: allowed, because whoever answers proves that it leads.
    fn has_copy(self) -> bool {
        matches!(self, Self::Right | Self::NoReadLease)
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Right].into_iter().chain(WRONG).find(|variant| variant.to_string() == text)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Right => "right",
            Self::NoHeadCompare => "no-head-compare",
            Self::AcknowledgeBeforeCommit => "acknowledge-before-commit",
            Self::NoReadLease => "no-read-lease",
            Self::UnknownTakenAsNotApplied => "unknown-taken-as-not-applied",
            Self::ReadsFromMemory => "reads-from-memory",
        })
    }
}

/// The stanza of the wrong storage around the one that the configuration `inner` names.
pub fn stanza(inner: &std::path::Path, variant: Variant) -> String {
    format!("storage {KIND:?} {{\ninner = {:?}\nvariant = \"{variant}\"\n}}\n", inner.display().to_string())
}

/// Opens it.
pub struct Factory;

#[async_trait]
impl BackendFactory for Factory {
    async fn open(&self, settings: &Settings, around: &Surroundings) -> Result<OpenStorage, OpenError> {
        let variant = Variant::parse(&settings["variant"]).expect("a variant");
        let text = std::fs::read_to_string(&settings["inner"]).expect("a configuration");
        let config = parse(&[("inner", &text)], &Environment::fixed([])).expect("a valid one");
        let real = BackendTable::default().storage(&config.storage, around).await?;
        let backend = Arc::new(Wrong {
            inner: real.backend,
            variant,
            newest: Arc::default(),
            turn: Arc::default(),
            values: Arc::default(),
            commits: Arc::default(),
        });
        Ok(OpenStorage { backend, lock: real.lock })
    }
}

type Values = std::collections::BTreeMap<String, Option<bytes::Bytes>>;

/// The newest head that an instance knows.
type Newest = Arc<Mutex<Option<Head>>>;

#[derive(Clone)]
struct Wrong {
    inner: Arc<dyn Backend>,
    variant: Variant,
    newest: Newest,
    /// Commits that were called committed too early, one after the other.
    turn: Arc<Turn<()>>,
    values: Arc<Mutex<Values>>,
    /// Commits that were carried out while answers may be lost.
    commits: Arc<AtomicUsize>,
}

fn note(newest: &Newest, head: &Head) {
    let mut newest = newest.lock().unwrap();
    if newest.as_ref().is_none_or(|known| known.position() < head.position()) {
        *newest = Some(head.clone());
    }
}

impl Wrong {
    fn refused(&self, reason: String) -> Commit {
        Commit::Refused(StorageError::Unavailable { storage: self.inner.kind(), reason })
    }

    /// Whether the answer to the commit of `ops` is lost: something in it will be read again.
    fn loses_this(&self, ops: &[Op]) -> bool {
        let count = self.commits.fetch_add(1, Ordering::Relaxed);
        count >= ANSWERED
            && ops.iter().any(|op| matches!(op, Op::Put { key, .. } if key.starts_with("logical/")))
    }

    /// Takes in a head that the feed tells of: what is newer than all that is known was written by another node.
    fn hear(&self, head: &Head) {
        let mut values = self.values.lock().unwrap();
        let newest = self.newest.lock().unwrap().as_ref().map(Head::position);
        if self.variant.has_copy() && newest.is_none_or(|newest| newest < head.position()) {
            values.clear();
        }
        note(&self.newest, head);
    }

    /// What the copy tells of a key, if there is one that knows it.
    fn copy(&self, key: &str) -> Option<Value> {
        if !self.variant.has_copy() {
            return None;
        }
        let values = self.values.lock().unwrap();
        let value = values.get(key)?.clone();
        let head = self.newest.lock().unwrap().clone()?;
        Some(Value { value, head })
    }

    /// Waits for what was called committed too early.
    async fn settle(&self) {
        drop(self.turn.lock().await);
    }

    /// Stores a batch over whatever head there is, as soon as the storage answers.
    async fn arrive_late(self, next: Head, ops: Vec<Op>) {
        for _ in 0..LATE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Ok(Some(current)) = self.inner.check().await else { continue };
            if current.batch_id == next.batch_id
                || self.inner.commit(Some(&current), &next, &ops).await == Commit::Committed
            {
                return;
            }
        }
    }

    /// Sends a batch until its outcome is known, and forgets it.
    async fn carry_out(
        self,
        expected: Option<Head>,
        next: Head,
        ops: Vec<Op>,
        turn: tokio::sync::OwnedMutexGuard<()>,
    ) {
        while let Commit::Unknown { .. } = self.inner.commit(expected.as_ref(), &next, &ops).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(turn);
    }
}

#[async_trait]
impl Backend for Wrong {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        // Claims are as they should be: a wrong variant shall lead, and be wrong then.
        let is_write = expected.is_some_and(|expected| expected.epoch == next.epoch);
        if is_write && self.variant == Variant::AcknowledgeBeforeCommit {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            tokio::spawn(self.clone().carry_out(expected.cloned(), next.clone(), ops.to_vec(), turn));
            note(&self.newest, next);
            return Commit::Committed;
        }
        let outcome = self.inner.commit(expected, next, ops).await;
        let outcome = match (self.variant, outcome) {
            (Variant::NoHeadCompare, Commit::Fenced { current: Some(current) }) if is_write => {
                self.inner.commit(Some(&current), next, ops).await
            }
            (Variant::NoHeadCompare, Commit::Unknown { reason }) if is_write => {
                tokio::spawn(self.clone().arrive_late(next.clone(), ops.to_vec()));
                Commit::Unknown { reason }
            }
            (Variant::UnknownTakenAsNotApplied, Commit::Unknown { reason }) if is_write => {
                self.refused(reason)
            }
            // Losses on the network seldom meet the very answer that says it; these do.
            (Variant::UnknownTakenAsNotApplied, Commit::Committed) if is_write && self.loses_this(ops) => {
                self.refused("the answer was lost".to_owned())
            }
            (_, outcome) => outcome,
        };
        let mut values = self.values.lock().unwrap();
        if self.variant.has_copy() && !(is_write && outcome == Commit::Committed) {
            // What others wrote before a claim, or what became of this batch, is not in the copy.
            values.clear();
        }
        if outcome == Commit::Committed {
            note(&self.newest, next);
            values.extend(ops.iter().map(|op| match op {
                Op::Put { key, value } => (key.clone(), Some(value.clone())),
                Op::Delete { key } => (key.clone(), None),
            }));
        }
        outcome
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        self.settle().await;
        let real = self.inner.get(key);
        tokio::pin!(real);
        let mut found = match tokio::time::timeout(SILENCE, &mut real).await {
            Ok(found) => found?,
            Err(_) => match self.copy(key) {
                Some(copy) => return Ok(copy),
                None => real.await?,
            },
        };
        note(&self.newest, &found.head);
        let mut values = self.values.lock().unwrap();
        match self.variant {
            Variant::ReadsFromMemory if found.value.is_some() => {
                found.value = values.entry(key.to_owned()).or_insert(found.value).clone();
            }
            // An answer that is older than what was seen meanwhile tells nothing.
            variant if variant.has_copy() && self.newest.lock().unwrap().as_ref() == Some(&found.head) => {
                values.insert(key.to_owned(), found.value.clone());
            }
            _ => {}
        }
        Ok(found)
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        self.settle().await;
        let found = self.inner.list(prefix, after, limit).await?;
        note(&self.newest, &found.head);
        Ok(found)
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        self.settle().await;
        let known = self.newest.lock().unwrap().clone();
        if self.variant == Variant::NoReadLease && known.is_some() {
            return Ok(known);
        }
        let found = self.inner.check().await?;
        found.iter().for_each(|head| note(&self.newest, head));
        Ok(found)
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        self.settle().await;
        let feed = self.inner.follow(from).await?;
        Ok(Box::new(WrongFeed { inner: feed, storage: self.clone() }))
    }

    fn hurry(&self) {
        self.inner.hurry();
    }

    fn used_bytes(&self) -> Option<u64> {
        self.inner.used_bytes()
    }
}

/// The feed as it is; what it tells is noted.
struct WrongFeed {
    inner: Box<dyn Feed>,
    storage: Wrong,
}

#[async_trait]
impl Feed for WrongFeed {
    async fn next(&mut self) -> Result<FeedEvent, StorageError> {
        let event = self.inner.next().await?;
        match &event {
            FeedEvent::Record(record) => self.storage.hear(&record.head),
            FeedEvent::Reset { head } => head.iter().for_each(|head| self.storage.hear(head)),
        }
        Ok(event)
    }
}
