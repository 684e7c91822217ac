//! The public conformance suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use holdfast::config::EtcdStorage;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::{Backend, HaBackend};

use super::world::{Writer, cluster, new_path, opened, settings, single};
use crate::etcd_server::Etcd;
use crate::network::Network;
use crate::place::{Place, Route, Site};
use crate::wake::readers_are_woken_long_before_they_look;

/// Stores and locks on the same servers, each under a path of its own.
#[derive(Clone, Copy)]
struct On {
    servers: &'static Etcd,
    is_cached: bool,
}

struct Directory {
    servers: &'static Etcd,
    path: String,
    network: Arc<Network>,
    /// Every instance begins with another member.
    instances: AtomicUsize,
}

impl On {
    async fn place(self) -> Place<Directory> {
        let (network, _) = Network::before(&self.servers.addresses()).await;
        let site = Directory {
            servers: self.servers,
            path: new_path(),
            network: Arc::clone(&network),
            instances: AtomicUsize::new(0),
        };
        Place { site, network, cache_bytes: self.is_cached.then_some(1 << 20) }
    }
}

impl Directory {
    fn settings(&self, route: Route) -> EtcdStorage {
        if route == Route::Past {
            return settings(self.servers, &self.path, 0);
        }
        let first = self.instances.fetch_add(1, Ordering::Relaxed);
        let mut settings = settings(self.servers, &self.path, first);
        let ports = self.network.ports();
        let count = ports.len();
        for (n, address) in settings.addresses.iter_mut().enumerate() {
            let (host, _) = address.rsplit_once(':').expect("a port");
            *address = format!("{host}:{}", ports[(first + n) % count]);
        }
        settings
    }
}

#[async_trait]
impl Site for Directory {
    async fn backend(&self, route: Route) -> Arc<dyn Backend> {
        Arc::new(opened(&self.settings(route)).await.0)
    }

    async fn lock(&self, route: Route) -> Arc<dyn HaBackend> {
        Arc::new(opened(&self.settings(route)).await.1)
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

/// Every law over the cluster with TLS and users.
pub async fn reports() -> [Report; 2] {
    let on = On { servers: cluster().await, is_cached: false };
    [report_storage("etcd", &on).await, report_lock("etcd", &on).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_keeps_the_laws_of_storage() {
    assert_eq!(check_storage(&On { servers: single().await, is_cached: false }).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_keeps_the_laws_of_the_lock() {
    assert_eq!(check_lock(&On { servers: single().await, is_cached: false }).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_laws_of_storage_under_a_cache() {
    assert_eq!(check_storage(&On { servers: cluster().await, is_cached: true }).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_woken_long_before_they_look_by_themselves() {
    let place = On { servers: cluster().await, is_cached: false }.place().await;
    let (backend, register) = opened(&place.site.settings(Route::Network)).await;
    let (reader, candidate) = opened(&place.site.settings(Route::Network)).await;
    let writer = Writer::init(backend).await;
    let writing = (writer.backend.as_ref(), &register as _);
    readers_are_woken_long_before_they_look(writer.head, writing, (&reader, &candidate)).await;
}
