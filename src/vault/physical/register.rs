//! [`HaBackend`]: a compare-and-swap register with a watch. The lock only elects; the head fences.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::head::LockName;
use crate::base::class::ErrorClass;

/// Who serves, published by the holder once it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRecord {
    /// Identity of the active node (`<pod>_<pod uid>_<random per process start>`).
    pub identity: String,
    /// The epoch that it claimed.
    pub epoch: u64,
    /// Its API address, a URL.
    pub api_addr: String,
    /// Its cluster address, a URL.
    pub cluster_addr: String,
}

/// The content of the lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRecord {
    /// Identity of the holder; empty when released.
    pub holder: String,
    /// How long the record is to be believed without a renewal, in seconds.
    pub duration_seconds: u32,
    /// Changes with every renewal.
    pub renewals: u64,
    /// Changes of holder so far; shown to people, of no meaning for safety.
    pub transitions: u32,
    /// On a release: the epoch that the releasing node held. A release without it is not believed.
    pub released_epoch: Option<u64>,
    /// The active node.
    pub active: Option<ActiveRecord>,
    /// A transfer by name: only this identity may take the lock at once.
    pub successor: Option<String>,
    /// The head's epoch that the transferring node renounced together with naming a successor.
    pub renounced_epoch: Option<u64>,
    /// A node that is about to be deleted and must not become active, by identity or pod name.
    pub leaving: Option<String>,
    /// A request from outside (the operator) to hand over: a nonce, and the wanted successor's pod name if any.
    pub handover: Option<HandoverWish>,
    /// A process of which somebody who sees it (the operator) says that it has ended, by identity. It only shortens the
    /// wait for a lock that it holds.
    pub ended: Option<String>,
}

/// A request to hand over, written into the lock by the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverWish {
    /// Makes the wish distinguishable from an earlier one.
    pub nonce: String,
    /// The pod that shall take over; any if `None`.
    pub to: Option<String>,
}

/// The version of a register's content, opaque to all but its backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(pub String);

/// The content of a register with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The version to compare with in a swap.
    pub version: Version,
    /// The content.
    pub record: LockRecord,
}

/// How a swap ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The register now holds the new record at this version.
    Swapped(Version),
    /// The register's version is another; nothing was written.
    Conflict,
    /// It may or may not have been written: read again.
    Unknown {
        /// What happened, for the log.
        reason: String,
    },
}

/// Why the lock could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// It could not be reached or did not answer in time.
    #[error("lock {lock} is unavailable: {reason}")]
    Unavailable {
        /// The lock.
        lock: String,
        /// What happened.
        reason: String,
    },
    /// It refuses this client.
    #[error("lock {lock} denies access: {reason}")]
    Denied {
        /// The lock.
        lock: String,
        /// What it said.
        reason: String,
    },
}

impl RegisterError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable { .. } => ErrorClass::Unavailable,
            Self::Denied { .. } => ErrorClass::Internal,
        }
    }
}

/// A watch on a register. It may miss intermediate contents, never the last one.
#[async_trait]
pub trait RegisterWatch: Send {
    /// Waits until the content has changed since the last call (the first call returns at once) and returns it.
    /// Cancel-safe.
    ///
    /// # Errors
    /// When the lock cannot be reached; it may be asked again.
    async fn changed(&mut self) -> Result<Option<Versioned>, RegisterError>;
}

/// A lock as a compare-and-swap register; one lease algorithm runs above all of them.
///
/// # Laws
/// 1. `swap` writes only if the register's version is `expected` (`None`: the register is absent), atomically.
/// 2. Fields of the underlying object that the record does not cover are preserved.
/// 3. `watch` reports every lasting change within a second while the lock can be reached.
#[async_trait]
pub trait HaBackend: Send + Sync {
    /// The lock's name, as the head records it.
    fn name(&self) -> LockName;

    /// Reads the register; `None` if it is absent.
    ///
    /// # Errors
    /// When it cannot be reached or read.
    async fn read(&self) -> Result<Option<Versioned>, RegisterError>;

    /// Writes `next` if the version is still `expected`.
    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap;

    /// Watches the register.
    ///
    /// # Errors
    /// When it cannot be reached.
    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError>;
}
