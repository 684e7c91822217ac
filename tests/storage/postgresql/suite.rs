//! The public conformance suite: without TLS, with TLS and a password, with a certificate, and below the cache.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::config::{Credential, PostgresqlStorage};
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::postgresql::open_lock;
use holdfast::vault::physical::{Backend, HaBackend};

use super::world::{both, certified, certified_url, common_server, init, opened, storage};
use crate::network::Network;
use crate::place::{Place, Route, Site};
use crate::server_postgresql::{DATABASE, Postgresql};
use crate::wake::readers_are_woken_long_before_they_look;

/// How the server is reached.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    Tls,
    Certificate,
}

struct World {
    way: Way,
    is_cached: bool,
}

struct Table {
    server: &'static Postgresql,
    direct: PostgresqlStorage,
    config: PostgresqlStorage,
}

impl World {
    fn new(way: Way) -> Self {
        Self { way, is_cached: false }
    }

    async fn place(&self) -> Place<Table> {
        let server = common_server().await;
        let (url, direct) = match self.way {
            Way::Plain => (server.url(), storage(&server.url())),
            Way::Tls => (server.tls_url(), storage(&server.tls_url())),
            Way::Certificate => (certified_url(server), certified(server)),
        };
        let network = Network::to(&[server.port]).await;
        let [port] = network.ports()[..] else { panic!("one server has one link") };
        let through = url.replace(&format!(":{}/", server.port), &format!(":{port}/"));
        assert_ne!(through, url, "the URL has a port");
        let config = PostgresqlStorage {
            connection_url: Some(Credential::Text(through.as_str().into())),
            ..direct.clone()
        };
        let site = Table { server, direct, config };
        Place { site, network, cache_bytes: self.is_cached.then_some(8 << 20) }
    }
}

impl Table {
    fn config(&self, route: Route) -> &PostgresqlStorage {
        match route {
            Route::Network => &self.config,
            Route::Past => &self.direct,
        }
    }

    fn row(&self, statements: &[&str]) -> String {
        self.server.sql(DATABASE, statements)
    }
}

#[async_trait]
impl Site for Table {
    async fn backend(&self, route: Route) -> Arc<dyn Backend> {
        Arc::new(opened(self.config(route)).await)
    }

    async fn lock(&self, route: Route) -> Arc<dyn HaBackend> {
        Arc::new(open_lock(self.config(route)).await.unwrap_or_else(|reason| panic!("{reason}")))
    }

    async fn mark(&self) -> bool {
        let table = format!("{}_lock", self.config.table);
        let column = format!("ALTER TABLE {table} ADD COLUMN owner text");
        self.row(&[&column, &format!("UPDATE {table} SET owner = 'team-a'")]);
        true
    }

    async fn is_marked(&self) -> bool {
        self.row(&[&format!("SELECT owner FROM {}_lock", self.config.table)]) == "team-a"
    }
}

#[async_trait]
impl Stores for World {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(self.place().await)
    }
}

#[async_trait]
impl Locks for World {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(self.place().await)
    }
}

/// Every law over a server that is reached with TLS and a password.
pub async fn reports() -> [Report; 2] {
    let world = World::new(Way::Tls);
    [report_storage("postgresql", &world).await, report_lock("postgresql", &world).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws() {
    assert_eq!(check_storage(&World::new(Way::Plain)).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws_below_the_cache() {
    assert_eq!(check_storage(&World { way: Way::Certificate, is_cached: true }).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_keeps_the_laws() {
    assert_eq!(check_lock(&World::new(Way::Plain)).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_woken_long_before_they_look_by_themselves() {
    let config = storage(&common_server().await.url());
    let (backend, register) = both(&config).await;
    let (reader, candidate) = both(&config).await;
    let head = init(&backend).await;
    readers_are_woken_long_before_they_look(head, (&backend, &register), (&reader, &candidate)).await;
}
