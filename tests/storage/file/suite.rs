//! The public conformance suite.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use holdfast::config::FileStorage;
use holdfast::vault::physical::conformance::{Report, Store, Stores, report_storage};
use holdfast::vault::physical::file::{FileBackend, open};
use holdfast::vault::physical::{Backend, CachedBackend};
use tempfile::TempDir;

struct Folders {
    is_cached: bool,
}

/// A store in a folder of its own. Instances are handles to it: another process would be refused.
struct Folder {
    folder: TempDir,
    store: FileBackend,
    is_cached: bool,
}

#[async_trait]
impl Stores for Folders {
    async fn create(&self) -> Box<dyn Store> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&FileStorage::at(folder.path().join("vault"))).await.expect("a store");
        Box::new(Folder { folder, store, is_cached: self.is_cached })
    }
}

#[async_trait]
impl Store for Folder {
    async fn open(&self) -> Arc<dyn Backend> {
        let store = Arc::new(self.store.clone());
        if self.is_cached { Arc::new(CachedBackend::start(store, 1 << 20)) } else { store }
    }

    /// A volume that vanishes.
    async fn fail(&self) -> bool {
        std::fs::rename(self.data(), self.data().with_extension("away")).is_ok()
    }

    async fn heal(&self) {
        std::fs::rename(self.data().with_extension("away"), self.data()).ok();
    }
}

impl Folder {
    fn data(&self) -> PathBuf {
        self.folder.path().join("vault/vault.redb")
    }
}

/// What the suite cannot do to a store in the same process: there is no way on which an answer could be lost.
const SKIPPED: [&str; 3] = [
    "a_lost_answer_is_no_failure",
    "a_lost_answer_is_settled_once",
    "the_journal_tells_the_outcome_to_a_deposed_writer",
];

async fn judge(subject: &str, is_cached: bool) {
    let report = report_storage(subject, &Folders { is_cached }).await;
    println!("{report}");
    assert_eq!(report.violations(), vec![]);
    assert_eq!(report.skipped(), SKIPPED);
}

/// Every law over folders of this machine.
pub async fn report() -> Report {
    report_storage("file", &Folders { is_cached: false }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws() {
    judge("file", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws_below_a_cache() {
    judge("file, cached", true).await;
}
