//! [`Backend`]: a key-value store whose only write is a commit at the head.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::head::Head;
use crate::base::class::ErrorClass;

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Stores `value` under `key`, replacing what was there.
    Put {
        /// The key: non-empty UTF-8 without control characters, at most 1024 bytes.
        key: String,
        /// The value, at most [`Limits::value_bytes`].
        value: Bytes,
    },
    /// Removes `key`; removing an absent key is no error.
    Delete {
        /// The key.
        key: String,
    },
}

impl Op {
    /// The key that the operation changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// Bytes that the operation adds to a commit, key included.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// The whole batch, its journal record and the next head are stored.
    Committed,
    /// The stored head is not the expected one; nothing was stored *by this call*. An earlier call with the same
    /// batch may have been: the journal tells.
    Fenced {
        /// The head that is stored; `None` if there is none.
        current: Option<Head>,
    },
    /// It may be stored, now or later. Send the same batch again until the head moves.
    Unknown {
        /// What happened, for the log.
        reason: String,
    },
    /// It is certain that nothing was stored, now or later, and that sending it again gives the same answer
    /// (a batch above the limits, storage full). On the backend's short list of definite refusals only.
    Refused(StorageError),
}

/// A value with the head it was read at.
#[derive(Debug, Clone)]
pub struct Value {
    /// The value; `None` if the key is absent.
    pub value: Option<Bytes>,
    /// The head of the state that was read.
    pub head: Head,
}

/// Keys with the head they were read at.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Keys in byte order.
    pub keys: Vec<String>,
    /// Whether more keys follow.
    pub more: bool,
    /// The head of the state that was read.
    pub head: Head,
}

/// A record of the journal: one commit and the keys it touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The head that the commit made.
    pub head: Head,
    /// For a claim: the head that it replaced.
    pub replaced: Option<Head>,
    /// Keys that were put or deleted.
    pub keys: Vec<String>,
}

/// What a feed reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    /// The next commit, without a gap after the one before.
    Record(Journal),
    /// Continuity cannot be proven: forget everything derived from storage and start again from `head`.
    Reset {
        /// The head that the store stands at now; `None` if it holds none.
        head: Option<Head>,
    },
}

/// The journal, followed in order.
#[async_trait]
pub trait Feed: Send {
    /// Waits for the next event. Cancel-safe.
    ///
    /// # Errors
    /// When the storage cannot be reached; the feed may be asked again and goes on where it was.
    async fn next(&mut self) -> Result<FeedEvent, StorageError>;

    /// Whether the next event must be asked of the storage, because everything that was read is delivered. A cache then
    /// waits for some milliseconds (see [`Backend::hurry`]), so that one question brings several commits. A feed that
    /// costs the storage nothing for each question says `false`, as is the default, and is never made to wait.
    fn is_drained(&self) -> bool {
        false
    }
}

/// A number of events since the start of the process, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Name of the metric without prefix and `_total`.
    pub name: &'static str,
    /// What is counted, as a sentence without a full stop.
    pub help: &'static str,
    /// How many.
    pub value: u64,
}

/// Limits of one commit and of the whole store, known before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most operations in a commit.
    pub operations: usize,
    /// Most bytes (keys and values) in a commit.
    pub commit_bytes: usize,
    /// Most bytes of one value.
    pub value_bytes: usize,
    /// Most bytes of data in the whole store; `None` if the store sets no limit of its own.
    pub data_bytes: Option<u64>,
}

/// Most bytes of a key.
pub const KEY_BYTES: usize = 1024;

impl Limits {
    /// Whether a commit of `ops` is within the limits of one commit (the data limit is the store's to judge).
    /// `storage` names the backend in the error.
    ///
    /// # Errors
    /// [`StorageError::TooManyOperations`], [`StorageError::TooLarge`] or [`StorageError::BadKey`].
    pub fn admit(&self, storage: &'static str, ops: &[Op]) -> Result<(), StorageError> {
        if ops.len() > self.operations {
            return Err(StorageError::TooManyOperations {
                storage,
                operations: ops.len(),
                limit: self.operations,
            });
        }
        let within = |what, bytes: usize, limit_bytes: usize| {
            if bytes > limit_bytes {
                return Err(StorageError::TooLarge { storage, what, bytes, limit_bytes });
            }
            Ok(())
        };
        for op in ops {
            if op.key().is_empty() || op.key().chars().any(char::is_control) {
                return Err(StorageError::BadKey { storage });
            }
            within("a key", op.key().len(), KEY_BYTES)?;
            if let Op::Put { value, .. } = op {
                within("a value", value.len(), self.value_bytes)?;
            }
        }
        within("a batch", ops.iter().map(Op::size_bytes).sum(), self.commit_bytes)
    }
}

/// Why the storage could not answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StorageError {
    /// It could not be reached or did not answer in time; trying again can help.
    #[error("storage {storage} is unavailable: {reason}")]
    Unavailable {
        /// The storage, as its type names it.
        storage: &'static str,
        /// What happened.
        reason: String,
    },
    /// It refuses this client: credentials or rights are missing.
    #[error("storage {storage} denies access: {reason}")]
    Denied {
        /// The storage.
        storage: &'static str,
        /// What it said.
        reason: String,
    },
    /// A batch or value is above the limits.
    #[error("{what} of {bytes} bytes is above the limit of {limit_bytes} bytes of storage {storage}")]
    TooLarge {
        /// The storage.
        storage: &'static str,
        /// What is too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// A batch has more operations than a commit takes.
    #[error(
        "a batch of {operations} operations is above the limit of {limit} operations of storage {storage}"
    )]
    TooManyOperations {
        /// The storage.
        storage: &'static str,
        /// How many it has.
        operations: usize,
        /// The limit.
        limit: usize,
    },
    /// A key is empty or holds a control character.
    #[error("storage {storage} takes no key that is empty or holds control characters")]
    BadKey {
        /// The storage.
        storage: &'static str,
    },
    /// The data limit is reached; deletes make room.
    #[error(
        "storage {storage} is full: {used_bytes} of {limit_bytes} bytes are in use; delete data, raise the limit or move to another storage"
    )]
    Full {
        /// The storage.
        storage: &'static str,
        /// Bytes in use.
        used_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The store holds no head: the cluster is not initialised.
    #[error("storage {storage} holds no vault: it is not initialised")]
    Empty {
        /// The storage.
        storage: &'static str,
    },
    /// What is stored cannot be right: an object is missing, altered or unreadable.
    #[error("storage {storage} is damaged: {reason}")]
    Damaged {
        /// The storage.
        storage: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl StorageError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable { .. } | Self::Empty { .. } => ErrorClass::Unavailable,
            Self::TooLarge { .. } | Self::TooManyOperations { .. } => ErrorClass::TooLarge,
            Self::Full { .. } | Self::BadKey { .. } => ErrorClass::Invalid,
            Self::Denied { .. } | Self::Damaged { .. } => ErrorClass::Internal,
        }
    }
}

/// A key-value store with one atomic, fenced write.
///
/// # Laws
/// 1. `commit` stores all operations, the journal record and the next head, or nothing; and only if the whole
///    stored head equals `expected` (`None`: there must be no head; only init does that).
/// 2. A commit that was answered with [`Commit::Committed`] is durable.
/// 3. Any answer that is not certain is [`Commit::Unknown`]. Sending a batch again is harmless: once the head has
///    moved it is fenced.
/// 4. `get` and `list` return a state that some head had, and that head. What one instance returns never goes back:
///    it is never older than a head that the same instance returned, committed or followed before.
/// 5. `check` is a quorum operation: it returns a head no older than any commit acknowledged, to any client, before
///    the call.
/// 6. `follow` delivers every commit after `from`, in order, or says [`FeedEvent::Reset`]. An instance's own
///    commits appear in its feeds as well.
#[async_trait]
pub trait Backend: Send + Sync {
    /// The storage type as configuration and `sys/seal-status` name it.
    fn kind(&self) -> &'static str;

    /// The limits of commits and data.
    fn limits(&self) -> Limits;

    /// Replaces `expected` by `next` together with `ops`; `replaced` is recorded in the journal by claims.
    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit;

    /// Reads one key.
    ///
    /// # Errors
    /// [`StorageError::Empty`] while there is no head.
    async fn get(&self, key: &str) -> Result<Value, StorageError>;

    /// Lists keys that start with `prefix` and are greater than `after`, in byte order, at most `limit`.
    ///
    /// # Errors
    /// [`StorageError::Empty`] while there is no head.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError>;

    /// The head, by a quorum operation; `None` if the store is not initialised.
    ///
    /// # Errors
    /// When the quorum cannot be reached.
    async fn check(&self) -> Result<Option<Head>, StorageError>;

    /// Follows the journal from just after `from` (`None`: from wherever the store stands, starting with a Reset).
    ///
    /// # Errors
    /// When the storage cannot be reached.
    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError>;

    /// Tells that somebody waits for the feeds of this instance to bring what is newest. Only what gathers events
    /// before it delivers them needs to listen; the default does nothing.
    fn hurry(&self) {}

    /// Bytes of data (keys and values) in the store, where the backend knows; for metrics and `StorageFull`.
    fn used_bytes(&self) -> Option<u64> {
        None
    }

    /// What this instance counted since its start, for metrics; by default nothing.
    fn counts(&self) -> Vec<Count> {
        Vec::new()
    }
}
