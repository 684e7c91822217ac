//! The public conformance suite.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::config::FileStorage;
use holdfast::vault::physical::conformance::{Store, Stores, check_storage};
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
        assert!(self.folder.path().exists());
        let store = Arc::new(self.store.clone());
        if self.is_cached { Arc::new(CachedBackend::start(store, 1 << 20)) } else { store }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws() {
    assert_eq!(check_storage(&Folders { is_cached: false }).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws_below_a_cache() {
    assert_eq!(check_storage(&Folders { is_cached: true }).await, vec![]);
}
