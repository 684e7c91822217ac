//! [`ZookeeperBackend`]: the storage's public face.

use std::sync::Arc;

use async_trait::async_trait;

use super::config::{KIND, LIMITS};
use super::proto::Question;
use super::state::{State, text};
use crate::vault::physical::backend::{Backend, Commit, Feed, Limits, Listing, Op, StorageError, Value};
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::JournalFeed;

/// A store in ZooKeeper. Clones are handles to the same instance, which has one connection.
#[derive(Clone)]
pub struct ZookeeperBackend(pub(super) Arc<State>);

#[async_trait]
impl Backend for ZookeeperBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        self.0.commit(expected, next, ops).await
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        let question = [Question::Data(self.0.layout().key(key))];
        let snapshot = self.0.read(&question).await?;
        let Some(stored) = snapshot.stored else { return Err(StorageError::Empty { storage: KIND }) };
        let value = text(snapshot.found.into_iter().next())?.map(|(bytes, _)| bytes);
        Ok(Value { value, head: stored.head })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        self.0.list(prefix, after, limit).await
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        Ok(self.0.read_proven(&[]).await?.head())
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        // The server that this instance reads from may not have heard of it yet, and what it has would look like a store
        // that went back.
        let newest = self.0.newest().map(|stored| stored.head.position());
        if from.as_ref().is_some_and(|from| newest < Some(from.position())) {
            self.0.read_proven(&[]).await?;
        }
        Ok(Box::new(JournalFeed::new(Arc::clone(&self.0), from)))
    }
}
