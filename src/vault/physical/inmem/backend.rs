//! [`InmemBackend`]: the store in memory behind the public trait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::store::{KIND, Store};
use crate::vault::physical::backend::{
    Backend, Commit, Feed, FeedEvent, Limits, Listing, Op, StorageError, Value,
};
use crate::vault::physical::head::Head;

/// Storage in memory. Clones are handles to the same content.
#[derive(Debug, Clone)]
pub struct InmemBackend(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    /// Wakes feeds; carries nothing.
    moved: watch::Sender<()>,
}

impl Default for InmemBackend {
    fn default() -> Self {
        Self::of(Store::new())
    }
}

impl InmemBackend {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store with the content of `store`.
    pub fn of(store: Store) -> Self {
        Self(Arc::new(Shared { store: Mutex::new(store), moved: watch::Sender::new(()) }))
    }

    /// A copy of the whole content.
    pub fn snapshot(&self) -> Store {
        self.store().clone()
    }

    /// Replaces the whole content, as somebody does who restores an older copy of a storage.
    pub fn restore(&self, store: Store) {
        *self.store() = store;
        self.0.moved.send_replace(());
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Backend for InmemBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        self.store().limits()
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        let outcome = self.store().commit(expected, next, ops);
        if outcome == Commit::Committed {
            self.0.moved.send_replace(());
        }
        outcome
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        self.store().get(key)
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        self.store().list(prefix, after, limit)
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        Ok(self.store().head().cloned())
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        let moved = self.0.moved.subscribe();
        Ok(Box::new(InmemFeed { backend: self.clone(), moved, at: from.map(Some) }))
    }

    fn used_bytes(&self) -> Option<u64> {
        Some(self.store().used_bytes())
    }
}

struct InmemFeed {
    backend: InmemBackend,
    moved: watch::Receiver<()>,
    /// The head that was reported last (inner `None`: an empty store was reported); `None` before the first Reset.
    at: Option<Option<Head>>,
}

impl InmemFeed {
    fn step(&mut self) -> Option<FeedEvent> {
        let store = self.backend.store();
        let head = store.head();
        if self.at.as_ref().is_some_and(|at| at.as_ref() == head) {
            return None;
        }
        let next = match &self.at {
            Some(Some(from)) => store.journal_after(from, 1).and_then(|records| records.into_iter().next()),
            _ => None,
        };
        if let Some(record) = next {
            self.at = Some(Some(record.head.clone()));
            return Some(FeedEvent::Record(record));
        }
        let head = head.cloned();
        self.at = Some(head.clone());
        Some(FeedEvent::Reset { head })
    }
}

#[async_trait]
impl Feed for InmemFeed {
    async fn next(&mut self) -> Result<FeedEvent, StorageError> {
        loop {
            self.moved.mark_unchanged();
            if let Some(event) = self.step() {
                return Ok(event);
            }
            // The sender lives as long as the backend that this feed holds: an error cannot happen.
            let _ = self.moved.changed().await;
        }
    }
}
