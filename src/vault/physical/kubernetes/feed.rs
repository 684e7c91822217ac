//! The journal as a feed: memory's journal, woken when memory moves.

use async_trait::async_trait;
use tokio::sync::watch;

use super::backend::KubernetesBackend;
use crate::vault::physical::backend::{Feed, FeedEvent, StorageError};
use crate::vault::physical::head::Head;

/// Follows one instance's memory.
pub(super) struct KubernetesFeed {
    backend: KubernetesBackend,
    moved: watch::Receiver<()>,
    /// The head that was reported last (inner `None`: an empty store was reported); `None` before the first Reset.
    at: Option<Option<Head>>,
}

impl KubernetesFeed {
    pub(super) fn new(backend: KubernetesBackend, from: Option<Head>) -> Self {
        let moved = backend.shared.moved.subscribe();
        Self { backend, moved, at: from.map(Some) }
    }

    fn step(&mut self) -> Option<FeedEvent> {
        let mut state = self.backend.shared.state();
        if !state.is_loaded || self.at.as_ref() == Some(&state.head) {
            return None;
        }
        let next = match &self.at {
            Some(Some(from)) => state.journal_after(from).cloned(),
            _ => None,
        };
        let head = next.as_ref().map_or_else(|| state.head.clone(), |record| Some(record.head.clone()));
        if let Some(head) = &head {
            state.note(head.position());
        }
        self.at = Some(head.clone());
        Some(next.map_or(FeedEvent::Reset { head }, FeedEvent::Record))
    }
}

#[async_trait]
impl Feed for KubernetesFeed {
    async fn next(&mut self) -> Result<FeedEvent, StorageError> {
        loop {
            self.moved.mark_unchanged();
            if let Some(event) = self.step() {
                return Ok(event);
            }
            // The sender lives as long as the instance that this feed holds: an error cannot happen.
            let _ = self.moved.changed().await;
        }
    }
}
