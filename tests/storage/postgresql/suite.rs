//! The public conformance suite: without TLS, with TLS and a password, with a certificate, and below the cache.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::config::PostgresqlStorage;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::postgresql::open_lock;
use holdfast::vault::physical::{Backend, CachedBackend, HaBackend};

use super::world::{certified, common_server, opened, storage};
use crate::server_postgresql::{DATABASE, Postgresql};

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

struct Place {
    server: &'static Postgresql,
    config: PostgresqlStorage,
    is_cached: bool,
}

impl World {
    fn new(way: Way) -> Self {
        Self { way, is_cached: false }
    }

    async fn place(&self) -> Place {
        let server = common_server().await;
        let config = match self.way {
            Way::Plain => storage(&server.url()),
            Way::Tls => storage(&server.tls_url()),
            Way::Certificate => certified(server),
        };
        Place { server, config, is_cached: self.is_cached }
    }
}

#[async_trait]
impl Stores for World {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(self.place().await)
    }
}

#[async_trait]
impl Store for Place {
    async fn open(&self) -> Arc<dyn Backend> {
        let backend = Arc::new(opened(&self.config).await);
        if self.is_cached { Arc::new(CachedBackend::start(backend, 8 << 20)) } else { backend }
    }
}

#[async_trait]
impl Locks for World {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(self.place().await)
    }
}

impl Place {
    fn row(&self, statements: &[&str]) -> String {
        self.server.sql(DATABASE, statements)
    }
}

#[async_trait]
impl Lock for Place {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(open_lock(&self.config).await.unwrap_or_else(|reason| panic!("{reason}")))
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
