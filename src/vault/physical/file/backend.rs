//! [`FileBackend`]: the embedded store behind the public trait.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::KIND;
use super::client::{Client, explained};
use super::failure::Failure;
use super::folder::unusable;
use crate::base::task::{self, BrokenOff};
use crate::config::FileStorage;
use crate::vault::physical::backend::{Backend, Commit, Feed, Limits, Listing, Op, StorageError, Value};
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::JournalFeed;
use crate::vault::physical::unusable::Unusable;

/// Storage in a file of this machine. Clones are handles to the same store; the folder is free for another process when
/// the last one is gone.
#[derive(Clone)]
pub struct FileBackend {
    pub(super) client: Arc<Client>,
    /// Held by the commit that is under way: the others must not keep threads waiting.
    writer: Arc<Mutex<()>>,
}

/// Opens the store of a folder, and makes both if they are not there. After a crash that includes a look at every page
/// of the file.
///
/// # Errors
/// When the folder cannot be used: others can write to it, this server cannot, another process uses it, or what lies
/// in it is damaged or not its own.
pub async fn open(config: &FileStorage) -> Result<FileBackend, Unusable> {
    let (config, path) = (config.clone(), config.path.clone());
    let opened = task::blocking("opening a file storage", move || Client::open(&config)).await;
    // The embedded store panics at some of what a disk can make of its pages.
    let damaged = |broken: BrokenOff| unusable(&path, explained(&Failure::Damaged(broken.to_string())));
    let client = opened.map_err(damaged).flatten()?;
    Ok(FileBackend { client: Arc::new(client), writer: Arc::default() })
}

impl FileBackend {
    /// Runs `work` where it may block.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let client = Arc::clone(&self.client);
        let done = task::blocking("a read of file storage", move || work(&client)).await;
        done.unwrap_or_else(|broken| {
            Err(StorageError::Unavailable { storage: KIND, reason: broken.to_string() })
        })
    }
}

#[async_trait]
impl Backend for FileBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        self.client.limits()
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        let turn = Arc::clone(&self.writer).lock_owned().await;
        let client = Arc::clone(&self.client);
        let (expected, next, ops) = (expected.cloned(), next.clone(), ops.to_vec());
        let done = task::blocking("a commit to file storage", move || {
            let _turn = turn;
            client.commit(expected.as_ref(), &next, &ops)
        });
        done.await.unwrap_or_else(|broken| Commit::Unknown { reason: broken.to_string() })
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        let key = key.to_owned();
        self.run(move |client| client.get(&key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.run(move |client| client.list(&prefix, after.as_deref(), limit)).await
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        self.run(Client::check).await
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        Ok(Box::new(JournalFeed::new(Arc::new(self.clone()), from)))
    }

    fn used_bytes(&self) -> Option<u64> {
        Some(self.client.used_bytes())
    }
}
