//! The journal as pages, and a blocking query that tells when to read the next one.

use std::time::Duration;

use async_trait::async_trait;

use super::backend::Shared;
use super::client::{Call, damaged, denied, encoded, unavailable};
use super::reads;
use super::transaction::{self, OPERATIONS, Outcome, Step};
use crate::vault::physical::backend::{Journal, StorageError};
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::{JournalPage, JournalSource};
use crate::vault::physical::wire;

/// How long a blocking query waits, so that what it misses is found by the next page.
pub(super) const WAIT: Duration = Duration::from_secs(1);
/// How long an agent may take for a blocking query beyond the time of a request: it adds up to a sixteenth by itself.
pub(super) const WAIT_PATIENCE: Duration = Duration::from_millis(1100);
/// Records of one transaction, beside the head.
const RECORDS: usize = OPERATIONS - 1;
/// Rounds of reading a page while the head moves.
const ROUNDS: usize = 4;

#[async_trait]
impl JournalSource for Shared {
    async fn page(&self, from_seq: u64, limit: usize) -> Result<JournalPage, StorageError> {
        let mut newest = match self.known() {
            Some(known) => known.head,
            None => reads::head(self).await?.map(|(head, _)| head),
        };
        for _ in 0..ROUNDS {
            let Some(last) = newest.as_ref().map(|head| head.seq).filter(|last| *last >= from_seq) else {
                // What is known does not reach so far; if that is still so, there are no records.
                let head = reads::head(self).await?.map(|(head, _)| head);
                if head.as_ref().is_none_or(|head| head.seq < from_seq) {
                    return Ok(JournalPage { head, records: Vec::new() });
                }
                newest = head;
                continue;
            };
            let most = u64::try_from(limit.min(RECORDS)).unwrap_or(u64::MAX);
            let last = last.min(from_seq.saturating_add(most).saturating_sub(1));
            match self.records(from_seq, last).await? {
                // A page that ends before the head must show how it goes on.
                Found::Records(head, records) if head.seq > last && records.len() < 2.min(limit) => {
                    newest = Some(head);
                }
                Found::Records(head, records) => return Ok(JournalPage { head: Some(head), records }),
                // The first record is trimmed, or belongs to a history that is gone.
                Found::Missing(true) => {
                    let head = reads::head(self).await?.map(|(head, _)| head);
                    return Ok(JournalPage { head, records: Vec::new() });
                }
                Found::Missing(false) => newest = reads::head(self).await?.map(|(head, _)| head),
            }
        }
        Err(unavailable("the head moved in every round of reading the journal".to_owned()))
    }

    async fn wait(&self, seen: Option<&Head>) -> Result<(), StorageError> {
        let mut moved = self.moved.subscribe();
        let pause = tokio::time::sleep(WAIT);
        tokio::pin!(pause);
        loop {
            let known = self.known();
            if known.as_ref().is_some_and(|known| known.head.as_ref() != seen) {
                return Ok(());
            }
            tokio::select! {
                // The sender lives as long as this instance: an error cannot happen.
                _ = moved.changed() => {}
                () = &mut pause => return Ok(()),
                _turn = self.turn.lock() => return self.query(known.map_or(0, |known| known.index)).await,
            }
        }
    }
}

/// What a transaction that reads a part of the journal found.
enum Found {
    Records(Head, Vec<Journal>),
    /// Some are not there; whether the first one is among them.
    Missing(bool),
}

impl Shared {
    /// The records `first` to `last` with the head of the same state.
    async fn records(&self, first: u64, last: u64) -> Result<Found, StorageError> {
        let mut steps = vec![Step::get(self.layout.head())];
        steps.extend((first..=last).map(|seq| Step::get(self.layout.record(seq))));
        let pairs = match transaction::read(&self.client, &steps).await? {
            Outcome::Done(pairs) => pairs,
            Outcome::Failed(objections) => {
                return Ok(Found::Missing(objections.iter().any(|objection| objection.step <= 1)));
            }
        };
        let head = reads::first_head(self, &pairs)?;
        let mut records = Vec::new();
        for seq in first..=last {
            let value = reads::value_of(&pairs, &self.layout.record(seq))
                .ok_or_else(|| denied("the journal may not be read with this token".to_owned()))?;
            records.push(wire::journal(&value).map_err(damaged)?);
        }
        Ok(Found::Records(head, records))
    }

    /// Waits at the agent until the head has changed since `index`, or the time is over. An index that has gone back
    /// (a restore) ends with the time, and the head that came with it shows.
    async fn query(&self, index: u64) -> Result<(), StorageError> {
        let wait = WAIT.as_millis();
        let head = encoded(&self.layout.head());
        let mut call = Call::get(format!("/v1/kv/{head}?consistent&index={}&wait={wait}ms", index.max(1)));
        call.patience = WAIT_PATIENCE;
        let answer = self.client.ask(&call).await?;
        reads::head_of(self, &answer).map(|_| ())
    }
}
