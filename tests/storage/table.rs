//! Every storage and every lock on its real servers, in one table: `make conformance` prints it.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Store, Stores, report_lock, report_storage, table,
};
use holdfast::vault::physical::inmem::{InmemBackend, InmemRegister};
use holdfast::vault::physical::{Backend, HaBackend};

use crate::{consul, etcd, file, kubernetes, postgresql, zookeeper};

struct Memory;

struct Content(InmemBackend, InmemRegister);

impl Content {
    fn new() -> Box<Self> {
        Box::new(Self(InmemBackend::new(), InmemRegister::new()))
    }
}

#[async_trait]
impl Stores for Memory {
    async fn create(&self) -> Box<dyn Store> {
        Content::new()
    }
}

#[async_trait]
impl Store for Content {
    async fn open(&self) -> Arc<dyn Backend> {
        Arc::new(self.0.clone())
    }
}

#[async_trait]
impl Locks for Memory {
    async fn create(&self) -> Box<dyn Lock> {
        Content::new()
    }
}

#[async_trait]
impl Lock for Content {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(self.1.clone())
    }
}

/// The laws of the Kubernetes storage are judged at a frozen API server, the others' outages in tests of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_storage_and_every_lock_keeps_every_law() {
    let (kubernetes, etcd, consul, zookeeper, postgresql, file) = tokio::join!(
        kubernetes::suite::reports(),
        etcd::suite::reports(),
        consul::suite::reports(),
        zookeeper::suite::reports(),
        postgresql::suite::reports(),
        file::suite::report(),
    );
    let memory = [report_storage("inmem", &Memory).await, report_lock("inmem", &Memory).await];
    let (mut storages, mut locks) = (Vec::new(), Vec::new());
    for [storage, lock] in [kubernetes, etcd, consul, zookeeper, postgresql, memory] {
        storages.push(storage);
        locks.push(lock);
    }
    storages.push(file);
    println!("{}\n{}", table(&storages), table(&locks));
    assert_eq!((storages.len(), locks.len()), (7, 6));
    for report in storages.iter().chain(&locks) {
        assert_eq!(report.violations(), vec![], "{}", report.subject);
        let held = report.laws.len() - report.skipped().len();
        assert!(held >= 7, "{}: {held} laws were tried", report.subject);
    }
}
