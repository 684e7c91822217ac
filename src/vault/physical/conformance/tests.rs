//! The suite over the storage and the lock in memory, and over wrong ones that it must catch.

use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::vault::physical::backend::{Commit, Feed, FeedEvent, Limits, Listing, Op, StorageError, Value};
use crate::vault::physical::head::{Head, LockName};
use crate::vault::physical::inmem::{InmemBackend, InmemRegister};
use crate::vault::physical::register::{LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned};

pub(super) struct Memory;

#[async_trait]
impl Stores for Memory {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(InmemBackend::new())
    }
}

#[async_trait]
impl Store for InmemBackend {
    async fn open(&self) -> Arc<dyn Backend> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl Locks for Memory {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(InmemRegister::new())
    }
}

#[async_trait]
impl Lock for InmemRegister {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(self.clone())
    }
}

#[tokio::test]
async fn the_storage_in_memory_keeps_the_laws() {
    assert_eq!(check_storage(&Memory).await, vec![]);
}

#[tokio::test]
async fn the_lock_in_memory_keeps_the_laws() {
    assert_eq!(check_lock(&Memory).await, vec![]);
}

/// What is wrong with a storage.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It compares epoch and sequence number alone.
    HalfFence,
    /// Every third record is missing in its feeds.
    Gap,
    /// It stores deletes and forgets puts of a batch after the first.
    Torn,
    /// Its checks are answered from memory.
    OldCheck,
}

#[derive(Clone)]
struct Wrong(InmemBackend, Fault, Arc<std::sync::Mutex<Option<Head>>>);

struct WrongStores(Fault);

#[async_trait]
impl Stores for WrongStores {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(Wrong(InmemBackend::new(), self.0, Arc::default()))
    }
}

#[async_trait]
impl Store for Wrong {
    async fn open(&self) -> Arc<dyn Backend> {
        Arc::new(Self(self.0.clone(), self.1, Arc::default()))
    }
}

#[async_trait]
impl Backend for Wrong {
    fn kind(&self) -> &'static str {
        "wrong"
    }

    fn limits(&self) -> Limits {
        self.0.limits()
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        let current = self.0.check().await.unwrap();
        let expected = match (self.1, expected, &current) {
            (Fault::HalfFence, Some(expected), Some(current))
                if expected.position() == current.position() =>
            {
                Some(current)
            }
            _ => expected,
        };
        let ops = if self.1 == Fault::Torn { &ops[..ops.len().min(1)] } else { ops };
        self.0.commit(expected, next, ops).await
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        self.0.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        self.0.list(prefix, after, limit).await
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        let head = self.0.check().await?;
        if self.1 != Fault::OldCheck {
            return Ok(head);
        }
        let mut seen = self.2.lock().unwrap();
        Ok(std::mem::replace(&mut *seen, head.clone()).or(head))
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        let inner = self.0.follow(from).await?;
        Ok(if self.1 == Fault::Gap { Box::new(Gap(inner, 0)) } else { inner })
    }
}

struct Gap(Box<dyn Feed>, u32);

#[async_trait]
impl Feed for Gap {
    async fn next(&mut self) -> Result<FeedEvent, StorageError> {
        self.1 += 1;
        if self.1.is_multiple_of(3) {
            self.0.next().await?;
        }
        self.0.next().await
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_storages_are_caught() {
    for (fault, law) in [
        (Fault::HalfFence, "the_whole_head_is_compared"),
        (Fault::Gap, "a_feed_has_no_gap"),
        (Fault::Torn, "a_batch_is_stored_whole"),
        (Fault::OldCheck, "an_instance_never_goes_back"),
    ] {
        let found = check_storage(&WrongStores(fault)).await;
        assert!(found.iter().any(|violation| violation.law == law), "{fault:?}: {found:?}");
    }
}

/// A lock that looks at the version and writes later.
struct Racy(InmemRegister);

struct RacyLocks;

#[async_trait]
impl Locks for RacyLocks {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(Racy(InmemRegister::new()))
    }
}

#[async_trait]
impl Lock for Racy {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(Self(self.0.clone()))
    }
}

#[async_trait]
impl HaBackend for Racy {
    fn name(&self) -> LockName {
        self.0.name()
    }

    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        self.0.read().await
    }

    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        let before = self.0.read().await.unwrap();
        if before.as_ref().map(|found| &found.version) != expected {
            return Swap::Conflict;
        }
        tokio::task::yield_now().await;
        let now = self.0.read().await.unwrap();
        self.0.swap(now.as_ref().map(|found| &found.version), next).await
    }

    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        self.0.watch().await
    }
}

#[tokio::test]
async fn a_lock_that_races_is_caught() {
    let found = check_lock(&RacyLocks).await;
    assert!(found.iter().any(|violation| violation.law == "one_of_many_creates"), "{found:?}");
}
