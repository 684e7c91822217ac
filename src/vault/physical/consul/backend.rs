//! [`ConsulBackend`]: the storage behind the public trait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::client::Client;
use super::config::{KIND, Layout};
use super::{commit, reads};
use crate::vault::physical::backend::{Backend, Commit, Feed, Limits, Listing, Op, StorageError, Value};
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::JournalFeed;

/// Storage in the key-value store of a Consul cluster. Clones are handles to the same instance.
#[derive(Clone)]
pub struct ConsulBackend {
    pub(super) shared: Arc<Shared>,
}

/// What the handles and the feeds of one instance share.
pub(super) struct Shared {
    pub(super) client: Arc<Client>,
    pub(super) layout: Layout,
    known: Mutex<Option<Known>>,
    /// Wakes whoever waits for another head.
    pub(super) moved: watch::Sender<()>,
    /// One blocking query at a time, whoever waits.
    pub(super) turn: tokio::sync::Mutex<()>,
}

/// The head as this instance saw it last, which may be older than one that it saw before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// The head; `None` if there was none.
    pub(super) head: Option<Head>,
    /// The index of its last change, or where there is no head that of the answer.
    pub(super) index: u64,
}

impl Shared {
    pub(super) fn new(client: Arc<Client>, layout: Layout) -> Self {
        Self {
            client,
            layout,
            known: Mutex::default(),
            moved: watch::Sender::new(()),
            turn: tokio::sync::Mutex::default(),
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head as it was seen last; `None` before the first time.
    pub(super) fn known(&self) -> Option<Known> {
        self.slot().clone()
    }

    /// The index of `head`, if that is the one that was seen last.
    pub(super) fn index_of(&self, head: &Head) -> Option<u64> {
        self.slot().as_ref().filter(|known| known.head.as_ref() == Some(head)).map(|known| known.index)
    }

    /// Remembers what was seen.
    pub(super) fn observe(&self, head: Option<Head>, index: u64) {
        let seen = Some(Known { head, index });
        let mut slot = self.slot();
        if *slot != seen {
            *slot = seen;
            drop(slot);
            self.moved.send_replace(());
        }
    }
}

impl ConsulBackend {
    pub(super) fn new(client: Arc<Client>, layout: Layout) -> Self {
        Self { shared: Arc::new(Shared::new(client, layout)) }
    }
}

#[async_trait]
impl Backend for ConsulBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        commit::LIMITS
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        commit::commit(&self.shared, expected, next, ops).await
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        reads::get(&self.shared, key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        reads::list(&self.shared, prefix, after, limit).await
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        Ok(reads::head(&self.shared).await?.map(|(head, _)| head))
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        Ok(Box::new(JournalFeed::new(Arc::clone(&self.shared), from)))
    }
}
