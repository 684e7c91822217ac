//! [`Counted`]: the storage as everything above it asks it, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use crate::vault::physical::{Backend, Commit, Count, Feed, Head, Limits, Listing, Op, StorageError, Value};

/// A storage that counts what it is asked.
pub(super) struct Counted {
    inner: Arc<dyn Backend>,
    /// Reads of one key, answered from memory or not.
    reads: AtomicU64,
    /// Keys that listings returned.
    keys_listed: AtomicU64,
}

impl Counted {
    /// Counts what `inner` is asked.
    pub(super) fn above(inner: Arc<dyn Backend>) -> Arc<dyn Backend> {
        Arc::new(Self { inner, reads: AtomicU64::new(0), keys_listed: AtomicU64::new(0) })
    }
}

#[async_trait]
impl Backend for Counted {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        self.inner.commit(expected, next, ops).await
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        let listing = self.inner.list(prefix, after, limit).await?;
        let count = u64::try_from(listing.keys.len()).unwrap_or(u64::MAX);
        self.keys_listed.fetch_add(count, Ordering::Relaxed);
        Ok(listing)
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        self.inner.check().await
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        self.inner.follow(from).await
    }

    fn hurry(&self) {
        self.inner.hurry();
    }

    fn used_bytes(&self) -> Option<u64> {
        self.inner.used_bytes()
    }

    fn counts(&self) -> Vec<Count> {
        let own = [
            ("storage_reads", "Reads of the storage, answered from memory or not", &self.reads),
            ("storage_keys_listed", "Keys that listings of the storage returned", &self.keys_listed),
        ]
        .map(|(name, help, value)| Count { name, help, value: value.load(Ordering::Relaxed) });
        own.into_iter().chain(self.inner.counts()).collect()
    }
}
