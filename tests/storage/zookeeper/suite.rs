//! The public conformance suite, on one server in the clear and on an ensemble with TLS and authentication.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::{Backend, HaBackend};

use super::server::Ensemble;
use super::world::{World, Writer, single, three};
use crate::network::Network;
use crate::place::{Place, Route, Site};
use crate::wake::readers_are_woken_long_before_they_look;

struct Worlds {
    ensemble: &'static Ensemble,
    is_cached: bool,
}

struct Roots {
    direct: World,
    world: World,
}

impl Roots {
    fn world(&self, route: Route) -> &World {
        match route {
            Route::Network => &self.world,
            Route::Past => &self.direct,
        }
    }
}

impl Worlds {
    async fn place(&self) -> Place<Roots> {
        let direct = World::on(self.ensemble);
        let ports: Vec<u16> = direct.config.addresses.iter().map(|server| server.port).collect();
        let network = Network::to(&ports).await;
        let mut world = direct.clone();
        for (server, port) in world.config.addresses.iter_mut().zip(network.ports()) {
            server.port = port;
        }
        Place { site: Roots { direct, world }, network, cache_bytes: self.is_cached.then_some(1 << 20) }
    }
}

#[async_trait]
impl Site for Roots {
    async fn backend(&self, route: Route) -> Arc<dyn Backend> {
        Arc::new(self.world(route).open().await)
    }

    async fn lock(&self, route: Route) -> Arc<dyn HaBackend> {
        Arc::new(self.world(route).lock().await)
    }
}

#[async_trait]
impl Stores for Worlds {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(self.place().await)
    }
}

#[async_trait]
impl Locks for Worlds {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(self.place().await)
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

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_woken_long_before_they_look_by_themselves() {
    let world = World::on(three().await);
    let (backend, register) = world.try_open().await.expect("a store");
    let (reader, candidate) = world.try_open().await.expect("a store");
    let writer = Writer::init(backend).await;
    let writing = (writer.backend.as_ref(), &register as _);
    readers_are_woken_long_before_they_look(writer.head, writing, (&reader, &candidate)).await;
}
