//! Storage and lock by their type: what is built in, and a table for what others add.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use crate::base::clock::{Clock, SystemClock};
use crate::base::random::{Random, SystemRandom};
use crate::config::{HaStorageConfig, Settings, StorageConfig};
use crate::vault::physical::cache::CACHE_BYTES;
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::physical::{
    Backend, CachedBackend, HaBackend, Unusable, consul, etcd, file, kubernetes, postgresql, zookeeper,
};

/// The types that are always there, as messages list them: those with a lock, and those for one node.
const WITH_LOCK: &[&str] = &["kubernetes", "etcd", "consul", "zookeeper", "postgresql"];
const FOR_ONE_NODE: &[&str] = &["file", "inmem"];

/// Why storage or lock cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No factory knows the type.
    #[error("{what} {kind:?} is not known; this server knows {known}")]
    Unknown {
        /// `storage` or `ha_storage`.
        what: &'static str,
        /// The type.
        kind: String,
        /// The types that there are.
        known: String,
    },
    /// The type has no lock.
    #[error("ha_storage {kind:?} cannot be used: this storage has no lock; take it from one of {others}")]
    NoLock {
        /// The type.
        kind: String,
        /// Types that have one.
        others: String,
    },
    /// The factory refuses the settings, or the storage cannot be used at all.
    #[error("{kind}: {reason}")]
    Refused {
        /// The type.
        kind: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// What backends are given.
#[derive(Clone)]
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

impl Surroundings {
    /// Those of the operating system.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) }
    }
}

/// A storage, ready for use, with its own lock if it has one.
pub struct OpenStorage {
    /// The data.
    pub backend: Arc<dyn Backend>,
    /// The lock in the same place; `None`: the storage cannot elect.
    pub lock: Option<Arc<dyn HaBackend>>,
}

/// Opens a type of storage that this crate does not know.
#[async_trait]
pub trait BackendFactory: Send + Sync {
    /// Opens the storage with the settings of `storage "…" { … }`. Nothing needs to exist there yet, and it must not
    /// fail because the storage is away at the moment.
    ///
    /// # Errors
    /// When the settings cannot work.
    async fn open(&self, settings: &Settings, around: &Surroundings) -> Result<OpenStorage, OpenError>;
}

/// Factories by the type that they open.
#[derive(Clone, Default)]
pub struct BackendTable(BTreeMap<String, Arc<dyn BackendFactory>>);

impl BackendTable {
    /// Adds a type; built-in ones cannot be replaced.
    #[must_use]
    pub fn with(mut self, kind: &str, factory: Arc<dyn BackendFactory>) -> Self {
        self.0.insert(kind.to_owned(), factory);
        self
    }

    /// Opens the storage.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn storage(
        &self,
        config: &StorageConfig,
        around: &Surroundings,
    ) -> Result<OpenStorage, OpenError> {
        match config {
            // Every node holds everything in memory anyway.
            StorageConfig::Kubernetes(config) => {
                let (clock, random) = (Arc::clone(&around.clock), Arc::clone(&around.random));
                let opened = kubernetes::open(config, clock, random).await;
                let (backend, lock) = opened.map_err(|why| refused("kubernetes", &why))?;
                Ok(OpenStorage { backend: Arc::new(backend), lock: Some(Arc::new(lock)) })
            }
            StorageConfig::Etcd(config) => remote("etcd", etcd::open(config).await),
            StorageConfig::Consul(config) => remote("consul", consul::open(config).await),
            StorageConfig::Zookeeper(config) => remote("zookeeper", zookeeper::open(config).await),
            StorageConfig::Postgresql(config) => remote("postgresql", postgresql::open(config).await),
            // One process alone can have it open: there is nobody to elect.
            StorageConfig::File(config) => {
                let backend = file::open(config).await.map_err(|why| refused("file", &why))?;
                Ok(OpenStorage { backend: Arc::new(backend), lock: None })
            }
            // One process alone can reach it: there is nobody to elect.
            StorageConfig::Inmem => Ok(OpenStorage { backend: Arc::new(InmemBackend::new()), lock: None }),
            StorageConfig::Other { kind, settings } => {
                self.factory("storage", kind)?.open(settings, around).await
            }
        }
    }

    /// Opens a lock of its own.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn lock(
        &self,
        config: &HaStorageConfig,
        around: &Surroundings,
    ) -> Result<Arc<dyn HaBackend>, OpenError> {
        match config {
            HaStorageConfig::Kubernetes(config) => {
                register("kubernetes", kubernetes::open_lock(config, Arc::clone(&around.clock)).await)
            }
            HaStorageConfig::Etcd(config) => register("etcd", beside(etcd::open(config).await)),
            HaStorageConfig::Consul(config) => register("consul", beside(consul::open(config).await)),
            HaStorageConfig::Zookeeper(config) => register("zookeeper", zookeeper::open_lock(config).await),
            HaStorageConfig::Postgresql(config) => {
                register("postgresql", postgresql::open_lock(config).await)
            }
            HaStorageConfig::Other { kind, settings } => {
                let opened = self.factory("ha_storage", kind)?.open(settings, around).await?;
                let none = || OpenError::NoLock { kind: kind.clone(), others: WITH_LOCK.join(", ") };
                opened.lock.ok_or_else(none)
            }
        }
    }

    fn factory(&self, what: &'static str, kind: &str) -> Result<&Arc<dyn BackendFactory>, OpenError> {
        self.0.get(kind).ok_or_else(|| self.unknown(what, kind))
    }

    fn unknown(&self, what: &'static str, kind: &str) -> OpenError {
        let alone = if what == "storage" { FOR_ONE_NODE } else { &[] };
        let own = self.0.keys().map(String::as_str);
        let known: Vec<&str> = WITH_LOCK.iter().chain(alone).copied().chain(own).collect();
        OpenError::Unknown { what, kind: kind.to_owned(), known: known.join(", ") }
    }
}

fn refused(kind: &str, why: &Unusable) -> OpenError {
    OpenError::Refused { kind: kind.to_owned(), reason: why.to_string() }
}

/// A storage over the network, with the newest values in memory and the lock beside it.
fn remote<B, R>(kind: &str, opened: Result<(B, R), Unusable>) -> Result<OpenStorage, OpenError>
where
    B: Backend + 'static,
    R: HaBackend + 'static,
{
    let (backend, lock) = opened.map_err(|why| refused(kind, &why))?;
    let backend = CachedBackend::start(Arc::new(backend), CACHE_BYTES);
    Ok(OpenStorage { backend: Arc::new(backend), lock: Some(Arc::new(lock)) })
}

/// The lock of a storage whose data is not wanted.
fn beside<B, R>(opened: Result<(B, R), Unusable>) -> Result<R, Unusable> {
    opened.map(|(_, lock)| lock)
}

/// The lock alone.
fn register<R>(kind: &str, opened: Result<R, Unusable>) -> Result<Arc<dyn HaBackend>, OpenError>
where
    R: HaBackend + 'static,
{
    Ok(Arc::new(opened.map_err(|why| refused(kind, &why))?))
}
