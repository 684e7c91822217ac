//! The head: the one small record in the data store that says who leads and how far the history has come.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::UnixMillis;
use crate::base::id;
use crate::base::random::Random;

/// 128 random bits that name one batch, so that a writer recognises its own commit whatever answer it got.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchId([u8; 16]);

impl BatchId {
    /// A new random name.
    pub fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(bytes)
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&id::hex(&self.0))
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<BatchId> for String {
    fn from(id: BatchId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for BatchId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = id::unhex(&text).ok_or("batch id is not hexadecimal")?;
        Ok(Self(bytes.try_into().map_err(|_| "batch id is not 16 bytes")?))
    }
}

/// The lock that a cluster uses, as its head names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LockName {
    /// The kind of lock: `kubernetes`, `inmem`, `etcd`, and so on.
    pub kind: String,
    /// The namespace (Kubernetes), path or prefix that it lies in; may be empty.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl LockName {
    /// What the head of a cluster names that uses no lock, since only one server may use its storage.
    pub fn none() -> Self {
        Self { kind: "none".to_owned(), namespace: String::new(), name: String::new() }
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::none() {
            return f.write_str("none");
        }
        write!(f, "{}:{}/{}", self.kind, self.namespace, self.name)
    }
}

/// The head. A commit replaces it, and only if the whole stored head is still the expected one.
///
/// Every value that is read comes with one: copies share their texts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// UUID of the cluster, made by init.
    pub cluster: Arc<str>,
    /// The lock in use.
    pub lock: Arc<LockName>,
    /// Grows by one with every claim of leadership.
    pub epoch: u64,
    /// Grows by one with every commit, claims included; never starts again.
    pub seq: u64,
    /// The batch that made this head.
    pub batch_id: BatchId,
    /// Identity of the node that made it.
    pub node: Arc<str>,
    /// Storage format that a node must be able to write in order to claim.
    pub format: u32,
    /// Cluster time of the commit; never goes back.
    pub time: UnixMillis,
}

impl Head {
    /// Where this head stands in the history: later heads compare greater.
    pub fn position(&self) -> (u64, u64) {
        (self.epoch, self.seq)
    }
}

/// The storage format that this program writes.
pub const FORMAT: u32 = 1;
