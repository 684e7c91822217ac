//! The journal as the source of feeds, woken by the commits of this process: there are no others.

use std::time::Duration;

use async_trait::async_trait;

use super::backend::FileBackend;
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::{JournalPage, JournalSource};

/// How often the journal is looked at when nothing happens.
const POLL: Duration = Duration::from_secs(1);

#[async_trait]
impl JournalSource for FileBackend {
    async fn page(&self, from_seq: u64, limit: usize) -> Result<JournalPage, StorageError> {
        self.run(move |client| client.page(from_seq, limit)).await
    }

    async fn wait(&self, seen: Option<&Head>) -> Result<(), StorageError> {
        let mut moved = self.client.moved.subscribe();
        // The sender lives as long as this instance: the wait ends by a commit or by its time.
        let _ = tokio::time::timeout(POLL, moved.wait_for(|head| head.as_ref() != seen)).await;
        Ok(())
    }
}
