//! The public conformance suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::{Backend, CachedBackend, HaBackend, LockRecord, Swap};

use super::world::{Writer, cluster, new_path, opened, put, recorded, settings, single};
use crate::etcd_server::Etcd;

/// Stores and locks on the same servers, each under a path of its own.
#[derive(Clone, Copy)]
struct On {
    servers: &'static Etcd,
    is_cached: bool,
}

struct Place {
    on: On,
    path: String,
    /// Every instance begins with another member.
    instances: AtomicUsize,
}

impl On {
    fn place(self) -> Place {
        Place { on: self, path: new_path(), instances: AtomicUsize::new(0) }
    }
}

impl Place {
    fn settings(&self) -> holdfast::config::EtcdStorage {
        settings(self.on.servers, &self.path, self.instances.fetch_add(1, Ordering::Relaxed))
    }
}

#[async_trait]
impl Stores for On {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(self.place())
    }
}

#[async_trait]
impl Store for Place {
    async fn open(&self) -> Arc<dyn Backend> {
        let backend = Arc::new(opened(&self.settings()).await.0);
        if self.on.is_cached { Arc::new(CachedBackend::start(backend, 1 << 20)) } else { backend }
    }
}

#[async_trait]
impl Locks for On {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(self.place())
    }
}

#[async_trait]
impl Lock for Place {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(opened(&self.settings()).await.1)
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
    let place = On { servers: cluster().await, is_cached: false }.place();
    let (backend, register) = opened(&place.settings()).await;
    let (reader, candidate) = opened(&place.settings()).await;
    let mut writer = Writer::init(backend).await;
    let mut feed = reader.follow(Some(writer.head.clone())).await.expect("a feed");
    let mut watch = candidate.watch().await.expect("a watch");
    assert_eq!(watch.changed().await, Ok(None));
    let mut version = None;
    // The watches begin a moment after they were asked for.
    writer.write(&[]).await;
    assert_eq!(recorded(feed.as_mut()).await, writer.head);
    let begun = Instant::now();
    for renewals in 0..10 {
        let held = LockRecord { holder: "a".to_owned(), renewals, ..LockRecord::default() };
        // Both wait already when something happens. (If one does not yet, it only has an easier time.)
        let happening = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            writer.write(&[put("a", renewals.to_string())]).await;
            register.swap(version.as_ref(), &held).await
        };
        let (swapped, head, found) = tokio::join!(happening, recorded(feed.as_mut()), watch.changed());
        let Swap::Swapped(next) = swapped else { panic!("{swapped:?}") };
        version = Some(next);
        assert_eq!(head, writer.head);
        assert_eq!(found.expect("a report").map(|found| found.record), Some(held));
    }
    // Looking once a second would take ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
}
