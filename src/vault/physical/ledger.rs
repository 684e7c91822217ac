//! [`Ledger`]: what a running request reads and writes through.
//!
//! The active node's ledger (in `vault::ha`) puts transactions into a queue and commits them in groups; a standby's
//! ledger only reads. A request runs on a [`Transaction`]: it remembers what it read, collects what it writes,
//! and is submitted as a whole.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use super::backend::{Limits, StorageError};
use super::head::Head;
use crate::base::class::ErrorClass;
use crate::base::clock::UnixMillis;

/// How far the history had come, in the ledger's own count, when something was read. Comparable within one ledger
/// (one epoch of the active node, or one standby) only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u64);

/// Which state a read sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Committed state alone: pure reads.
    Committed,
    /// Committed state plus the earlier transactions of the queue: requests that may write.
    Pending,
}

/// A value as a request sees it.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The value; `None` if the key is absent.
    pub value: Option<Bytes>,
    /// How far the history had come.
    pub stamp: Stamp,
}

/// Keys as a request sees them.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Keys in byte order.
    pub keys: Vec<String>,
    /// Whether more keys follow.
    pub more: bool,
    /// How far the history had come.
    pub stamp: Stamp,
}

/// What a request read and wants to write.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// Keys read (present or absent) with the stamp of the read.
    pub reads: BTreeMap<String, Stamp>,
    /// Prefixes listed with the stamp of the read.
    pub lists: BTreeMap<String, Stamp>,
    /// Writes: `Some` puts, `None` deletes.
    pub writes: BTreeMap<String, Option<Bytes>>,
}

impl Transaction {
    /// The newest stamp that the transaction depends on.
    pub fn newest_read(&self) -> Option<Stamp> {
        self.reads.values().chain(self.lists.values()).max().copied()
    }

    /// Notes a read; the oldest stamp of a key counts.
    pub fn note_read(&mut self, key: &str, stamp: Stamp) {
        let seen = self.reads.entry(key.to_owned()).or_insert(stamp);
        *seen = (*seen).min(stamp);
    }

    /// Notes a listing; the oldest stamp of a prefix counts.
    pub fn note_list(&mut self, prefix: &str, stamp: Stamp) {
        let seen = self.lists.entry(prefix.to_owned()).or_insert(stamp);
        *seen = (*seen).min(stamp);
    }
}

/// Why a transaction was not committed, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// Something it read has changed: run the request again from the start.
    #[error("another request changed what this one read")]
    Conflict,
    /// The batch that it depended on or belonged to failed without being applied: run the request again.
    #[error("the batch was not applied")]
    NotApplied,
    /// This node is not, or no longer, the active one, and it is certain that nothing was written:
    /// forward the request to the active node.
    #[error("this node is not the active one")]
    NotActive,
    /// It may have been carried out.
    #[error("the request may or may not have been carried out: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
    /// The queue is full; nothing was written.
    #[error("too many writes are waiting")]
    Busy,
    /// Nothing was written, and the storage says why.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl SubmitError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Conflict | Self::NotApplied | Self::NotActive | Self::Busy => ErrorClass::Unavailable,
            Self::Unknown { .. } => ErrorClass::Unknown,
            Self::Storage(error) => error.class(),
        }
    }
}

/// Proof that a read may be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The newest confirmed head; its position is what `X-Vault-Index` carries.
    pub head: Head,
    /// Set when `max_staleness` allowed an answer that is not proven current: its age in milliseconds.
    pub staleness_ms: Option<u64>,
}

/// Permission for one request to read, obtained when it arrived.
#[derive(Debug, Clone)]
pub struct ReadPass {
    /// The head that every read must have reached.
    pub floor: Head,
    /// How far the history had come when the request began: what it saw of writes that failed after that is void.
    pub begun: Stamp,
    /// Most staleness that the request accepts, in milliseconds; zero is linearizable.
    pub max_staleness_ms: u64,
}

/// What a running request reads and writes through. Implemented by `vault::ha` for active and standby nodes.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Limits of one transaction.
    fn limits(&self) -> Limits;

    /// Cluster time: the time that expiry is judged by.
    fn time(&self) -> UnixMillis;

    /// Whether this ledger accepts writes.
    fn is_writable(&self) -> bool;

    /// Begins a request: waits until local state has reached what was acknowledged when the request arrived.
    /// Must be called after the request arrived.
    ///
    /// # Errors
    /// When leadership cannot be proven in time and staleness is not accepted.
    async fn begin(&self, max_staleness_ms: u64) -> Result<ReadPass, SubmitError>;

    /// Reads one key.
    ///
    /// # Errors
    /// When the storage cannot answer.
    async fn get(&self, key: &str, consistency: Consistency) -> Result<Reading, StorageError>;

    /// Lists keys under `prefix` after `after`, at most `limit`.
    ///
    /// # Errors
    /// When the storage cannot answer.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        consistency: Consistency,
    ) -> Result<Keys, StorageError>;

    /// Commits a transaction that writes: returns after its batch is durable (and everything it depended on).
    ///
    /// # Errors
    /// See [`SubmitError`].
    async fn submit(&self, transaction: Transaction) -> Result<Confirmed, SubmitError>;

    /// Confirms an answer that wrote nothing: every write it saw is committed, and leadership was proven after the
    /// last read (or the staleness that `pass` accepts holds).
    ///
    /// # Errors
    /// See [`SubmitError`].
    async fn confirm(&self, pass: &ReadPass, newest: Option<Stamp>) -> Result<Confirmed, SubmitError>;
}
