//! Every storage and every lock on its real servers, in one table: `make conformance` prints it.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Store, Stores, report_lock, report_storage, table,
};
use holdfast::vault::physical::inmem::{InmemBackend, InmemRegister};
use holdfast::vault::physical::{Backend, HaBackend};

use crate::{consul, etcd, file, kubernetes, network, postgresql, zookeeper};

/// Stores and locks in memory.
pub struct Memory;

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

/// What cannot be tried: nothing can be lost on the way within one process, and memory cannot be taken away. The lock of
/// etcd, Consul and ZooKeeper is one value, which leaves no room for what others write.
fn skipped(subject: &str, is_lock: bool) -> Vec<&'static str> {
    let lost = [
        "a_lost_answer_is_no_failure",
        "a_lost_answer_is_settled_once",
        "the_journal_tells_the_outcome_to_a_deposed_writer",
    ];
    let away = [
        "an_outage_is_told_in_time",
        "a_commit_during_an_outage_is_settled_once",
        "an_outage_ends_by_itself",
        "a_feed_has_no_gap_after_an_outage",
    ];
    match (subject, is_lock) {
        ("inmem", false) => [lost.as_slice(), &away].concat(),
        ("file", false) => lost.to_vec(),
        ("inmem", true) => vec![
            "what_others_wrote_stays",
            "a_lost_answer_of_a_swap_is_no_conflict",
            "an_outage_of_the_lock_is_told_in_time",
            "a_watch_goes_on_after_an_outage",
        ],
        ("etcd" | "consul" | "zookeeper", true) => vec!["what_others_wrote_stays"],
        _ => vec![],
    }
}

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
    println!("{} answers were lost on their way", network::lost());
    assert_eq!((storages.len(), locks.len()), (7, 6));
    // Five answers to commits and one to a swap, of each of five servers.
    assert!(network::lost() >= 30, "{} answers were lost", network::lost());
    for (reports, is_lock) in [(&storages, false), (&locks, true)] {
        for report in reports {
            assert_eq!(report.violations(), vec![], "{}", report.subject);
            assert_eq!(report.skipped(), skipped(&report.subject, is_lock), "{}", report.subject);
        }
    }
}
