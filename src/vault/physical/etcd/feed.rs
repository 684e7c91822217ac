//! The journal as a feed: read page by page, woken by the watch on the head.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::answer::{Failure, damaged};
use super::client::Client;
use super::keys::Keys;
use super::proto::{RangeRequest, TXN, TxnRequest, TxnResponse};
use super::watch::{KeyWatch, POLL};
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::{JournalPage, JournalSource};
use crate::vault::physical::wire;

/// The journal, for one feed.
pub(super) struct EtcdJournal {
    client: Arc<Client>,
    keys: Keys,
    /// Keeps the watch alive that all feeds of an instance share.
    _watch: Arc<KeyWatch>,
    moved: Mutex<watch::Receiver<()>>,
}

impl EtcdJournal {
    pub(super) fn new(client: Arc<Client>, keys: Keys, watch: Arc<KeyWatch>) -> Self {
        let moved = Mutex::new(watch.subscribe());
        Self { client, keys, _watch: watch, moved }
    }
}

#[async_trait]
impl JournalSource for EtcdJournal {
    async fn page(&self, from_seq: u64, limit: usize) -> Result<JournalPage, StorageError> {
        // What moves from now on wakes the next wait, however long the reading takes.
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).mark_unchanged();
        let request = reading(&self.keys, Some(self.keys.records(from_seq, limit)));
        let mut found: TxnResponse =
            self.client.read(TXN, request).await.map_err(Failure::into_storage_error)?;
        let head = head_in(&mut found)?;
        let records = found.range(1).ok_or_else(|| cut_short("the journal"))?;
        let records = records
            .kvs
            .iter()
            .map(|kv| wire::journal(&kv.value).map_err(damaged))
            .collect::<Result<_, _>>()?;
        Ok(JournalPage { head, records })
    }

    async fn wait(&self, _seen: Option<&Head>) -> Result<(), StorageError> {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The watch lives as long as this: an error cannot happen, and what is late is looked for anyway.
        let _ = tokio::time::timeout(POLL, moved.changed()).await;
        Ok(())
    }
}

/// The transaction that reads the head, and something more of the same revision, by a quorum.
pub(super) fn reading(keys: &Keys, more: Option<RangeRequest>) -> TxnRequest {
    let mut success = vec![RangeRequest::of(keys.head()).into()];
    success.extend(more.map(Into::into));
    TxnRequest { success, ..TxnRequest::default() }
}

/// The head that such a transaction read; `None` if there is none.
pub(super) fn head_in(found: &mut TxnResponse) -> Result<Option<Head>, StorageError> {
    let range = found.range(0).ok_or_else(|| cut_short("the head"))?;
    range.kvs.first().map(|kv| wire::head(&kv.value).map_err(damaged)).transpose()
}

pub(super) fn cut_short(what: &str) -> StorageError {
    StorageError::Unavailable { storage: super::answer::KIND, reason: format!("an answer lacks {what}") }
}
