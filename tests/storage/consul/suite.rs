//! The public conformance suite, on a single server and on a cluster with TLS and ACLs.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::config::ConsulStorage;
use holdfast::vault::physical::cache::CACHE_BYTES;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::{Backend, CachedBackend, HaBackend};

use super::world::{backend, common_cluster, common_single, config, register};

/// Where stores are made.
#[derive(Clone, Copy)]
enum Place {
    Single,
    /// A single server, with a cache above every instance.
    Cached,
    Cluster,
}

struct Made {
    config: ConsulStorage,
    is_cached: bool,
}

impl Place {
    async fn make(self) -> Made {
        let config = match self {
            Self::Single | Self::Cached => config(common_single().await, None),
            Self::Cluster => {
                let (cluster, token) = common_cluster().await;
                config(cluster, Some(token))
            }
        };
        Made { config, is_cached: matches!(self, Self::Cached) }
    }
}

#[async_trait]
impl Stores for Place {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(self.make().await)
    }
}

#[async_trait]
impl Store for Made {
    async fn open(&self) -> Arc<dyn Backend> {
        let backend = Arc::new(backend(&self.config).await);
        if self.is_cached { Arc::new(CachedBackend::start(backend, CACHE_BYTES)) } else { backend }
    }
}

#[async_trait]
impl Locks for Place {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(self.make().await)
    }
}

#[async_trait]
impl Lock for Made {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(register(&self.config).await)
    }
}

/// Every law over the cluster with TLS and ACLs.
pub async fn reports() -> [Report; 2] {
    [report_storage("consul", &Place::Cluster).await, report_lock("consul", &Place::Cluster).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws() {
    assert_eq!(check_storage(&Place::Single).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws_below_a_cache() {
    assert_eq!(check_storage(&Place::Cached).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_keeps_the_laws() {
    assert_eq!(check_lock(&Place::Single).await, vec![]);
}
