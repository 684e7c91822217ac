//! The public conformance suite, on one server in the clear and on an ensemble with TLS and authentication.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::{Backend, CachedBackend, HaBackend};

use super::server::Ensemble;
use super::world::{World, single, three};

struct Worlds {
    ensemble: &'static Ensemble,
    is_cached: bool,
}

struct Place {
    world: World,
    is_cached: bool,
}

#[async_trait]
impl Stores for Worlds {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(Place { world: World::on(self.ensemble), is_cached: self.is_cached })
    }
}

#[async_trait]
impl Store for Place {
    async fn open(&self) -> Arc<dyn Backend> {
        let backend: Arc<dyn Backend> = Arc::new(self.world.open().await);
        if self.is_cached { Arc::new(CachedBackend::start(backend, 1 << 20)) } else { backend }
    }
}

#[async_trait]
impl Locks for Worlds {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(Place { world: World::on(self.ensemble), is_cached: false })
    }
}

#[async_trait]
impl Lock for Place {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(self.world.lock().await)
    }
}

/// Every law over the ensemble with TLS and authentication.
pub async fn reports() -> [Report; 2] {
    let worlds = Worlds { ensemble: three().await, is_cached: false };
    [report_storage("zookeeper", &worlds).await, report_lock("zookeeper", &worlds).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_keeps_the_laws_of_storage() {
    let worlds = Worlds { ensemble: single().await, is_cached: false };
    assert_eq!(check_storage(&worlds).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_keeps_the_laws_of_locks() {
    let worlds = Worlds { ensemble: single().await, is_cached: false };
    assert_eq!(check_lock(&worlds).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ensemble_keeps_the_laws_of_storage_below_a_cache() {
    let worlds = Worlds { ensemble: three().await, is_cached: true };
    assert_eq!(check_storage(&worlds).await, vec![]);
}
