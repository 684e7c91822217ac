//! Asking the storage, bounded in time, and what its silence means for those who wait.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::member::{Shared, lock};
use crate::vault::ha::election::Event;
use crate::vault::ha::outage::PATIENCE;
use crate::vault::physical::{Head, StorageError};

/// Longest wait for a quorum check.
pub(in crate::vault::ha) const CHECK_TIMEOUT: Duration = Duration::from_millis(700);

/// Longest wait for a read of the storage; [`Shared::read`] asks again.
pub(in crate::vault::ha) const READ_TIMEOUT: Duration = Duration::from_millis(900);

/// How long to wait before a storage that did not answer is asked again.
pub(super) const AGAIN: Duration = Duration::from_millis(100);

impl Shared {
    pub(in crate::vault::ha) fn storage(&self) -> &'static str {
        self.parts.backend.kind()
    }

    /// Makes a quorum check, bounded in time. Keeps the note whether the storage answers.
    pub(in crate::vault::ha) async fn check(&self) -> Result<Option<Head>, StorageError> {
        self.checks.fetch_add(1, Ordering::Relaxed);
        let sent_at = self.now();
        let result = self.bounded(CHECK_TIMEOUT, self.parts.backend.check()).await;
        match &result {
            Err(error @ StorageError::Unavailable { reason, .. }) => {
                let is_away = {
                    let mut outage = lock(&self.outage);
                    outage.failed(sent_at, self.now());
                    outage.is_away()
                };
                if is_away {
                    self.note_away(Some(reason.clone()));
                } else {
                    tracing::info!(storage = self.storage(), "{error}; it is asked again");
                }
            }
            // What it says against the question is an answer.
            _ => self.note_answer(),
        }
        result
    }

    /// Makes a quorum check and lets the election judge it.
    pub(super) async fn check_for(&self, number: u64) -> Result<(), StorageError> {
        let floor = self.highest();
        let (head, outcome) = match self.check().await {
            Ok(head) => (Some(head), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.tell(Event::Checked { number, floor, head }).await;
        outcome
    }

    /// Whether the storage answers, or does so after a pause. The election judges every answer.
    pub(super) async fn reach_storage(&self) -> bool {
        loop {
            match self.check_for(0).await {
                Ok(()) => return true,
                Err(StorageError::Unavailable { .. }) if !self.is_away() => {}
                Err(_) => return false,
            }
            if !self.parts.shutdown.sleep(AGAIN).await {
                return false;
            }
        }
    }

    /// Reads from the storage, and asks again while it pauses.
    pub(super) async fn read<T, F>(&self, question: impl Fn() -> F) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, StorageError>>,
    {
        let begun = self.now();
        loop {
            let result = self.bounded(READ_TIMEOUT, question()).await;
            let is_over = self.is_away() || self.now().since(begun) >= PATIENCE;
            match result {
                Err(StorageError::Unavailable { .. }) if !is_over => tokio::time::sleep(AGAIN).await,
                result => return result,
            }
        }
    }

    /// Bounds an operation of the storage in time.
    pub(super) async fn bounded<T>(
        &self,
        most: Duration,
        operation: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        tokio::time::timeout(most, operation).await.unwrap_or_else(|_| Err(self.silence(most)))
    }

    /// The error of a storage that gave no answer.
    pub(in crate::vault::ha) fn silence(&self, most: Duration) -> StorageError {
        StorageError::Unavailable {
            storage: self.storage(),
            reason: format!("no answer within {} ms", most.as_millis()),
        }
    }

    /// Whether the storage has been without an answer for so long that nobody waits for it.
    pub(super) fn is_away(&self) -> bool {
        lock(&self.outage).is_away()
    }

    /// Notes that the storage answers.
    pub(in crate::vault::ha) fn note_answer(&self) {
        lock(&self.outage).answered();
        self.note_away(None);
    }

    /// Notes whether the storage is away, and why, for status and texts.
    fn note_away(&self, reason: Option<String>) {
        self.status.send_if_modified(|status| {
            let has_changed = status.storage_away.is_some() != reason.is_some();
            if has_changed {
                match &reason {
                    Some(reason) => tracing::warn!(storage = self.storage(), reason, "the storage is away"),
                    None => tracing::info!(storage = self.storage(), "the storage answers again"),
                }
                status.storage_away = reason;
            }
            has_changed
        });
    }

    /// The error to answer with if the storage counts as away.
    pub(in crate::vault::ha) fn away(&self) -> Option<StorageError> {
        let reason = self.status.borrow().storage_away.clone()?;
        Some(StorageError::Unavailable { storage: self.storage(), reason })
    }
}
