//! The public conformance suite, on one server in the clear and on an ensemble with TLS and authentication.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::{Backend, FeedEvent, HaBackend, LockRecord, Swap};

use super::server::Ensemble;
use super::world::{World, Writer, put, single, three};
use crate::network::Network;
use crate::place::{Place, Route, Site};
use crate::steps::event;

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
    let mut writer = Writer::init(backend).await;
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    let mut watch = candidate.watch().await.expect("a watch");
    assert_eq!(watch.changed().await, Ok(None));
    let mut version = None;
    let begun = Instant::now();
    for renewals in 0..10 {
        let held = LockRecord { holder: "a".to_owned(), renewals, ..LockRecord::default() };
        // Both wait already when something happens. (If one does not yet, it only has an easier time.)
        let happening = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            writer.write(&[put("a", renewals.to_string())]).await;
            register.swap(version.as_ref(), &held).await
        };
        let (swapped, told, found) = tokio::join!(happening, event(feed.as_mut()), watch.changed());
        let Swap::Swapped(next) = swapped else { panic!("{swapped:?}") };
        version = Some(next);
        let FeedEvent::Record(record) = told else { panic!("a reset") };
        assert_eq!(record.head, writer.head);
        assert_eq!(found.expect("a report").map(|found| found.record), Some(held));
    }
    // Looking once a second would take ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}
