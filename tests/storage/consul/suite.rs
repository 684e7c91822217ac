//! The public conformance suite, on a single server and on a cluster with TLS and ACLs.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::config::ConsulStorage;
use holdfast::vault::physical::cache::CACHE_BYTES;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::{Backend, HaBackend};

use super::world::{backend, common_cluster, common_single, config, register};
use crate::network::Network;
use crate::place::{Place, Route, Site};

/// Where stores are made.
#[derive(Clone, Copy)]
enum On {
    Single,
    /// A single server, with a cache above every instance.
    Cached,
    Cluster,
}

struct Prefix {
    direct: ConsulStorage,
    config: ConsulStorage,
}

impl Prefix {
    fn config(&self, route: Route) -> &ConsulStorage {
        match route {
            Route::Network => &self.config,
            Route::Past => &self.direct,
        }
    }
}

impl On {
    async fn place(self) -> Place<Prefix> {
        let direct = match self {
            Self::Single | Self::Cached => config(common_single().await, None),
            Self::Cluster => {
                let (cluster, token) = common_cluster().await;
                config(cluster, Some(token))
            }
        };
        let (network, addresses) = Network::before(&direct.addresses).await;
        let config = ConsulStorage { addresses, ..direct.clone() };
        let cache_bytes = matches!(self, Self::Cached).then_some(CACHE_BYTES);
        Place { site: Prefix { direct, config }, network, cache_bytes }
    }
}

#[async_trait]
impl Site for Prefix {
    async fn backend(&self, route: Route) -> Arc<dyn Backend> {
        Arc::new(backend(self.config(route)).await)
    }

    async fn lock(&self, route: Route) -> Arc<dyn HaBackend> {
        Arc::new(register(self.config(route)).await)
    }
}

#[async_trait]
impl Stores for On {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(self.place().await)
    }
}

#[async_trait]
impl Locks for On {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(self.place().await)
    }
}

/// Every law over the cluster with TLS and ACLs.
pub async fn reports() -> [Report; 2] {
    [report_storage("consul", &On::Cluster).await, report_lock("consul", &On::Cluster).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws() {
    assert_eq!(check_storage(&On::Single).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws_below_a_cache() {
    assert_eq!(check_storage(&On::Cached).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_keeps_the_laws() {
    assert_eq!(check_lock(&On::Single).await, vec![]);
}
