//! [`ActiveLedger`]: what requests read and write through on the active node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::member::lock;
use super::term::Term;
use crate::base::clock::UnixMillis;
use crate::vault::physical::{
    Confirmed, Consistency, Keys, Ledger, Limits, ReadPass, Reading, Stamp, StorageError, SubmitError,
    Transaction,
};

/// Times that a listing is made anew because commits changed what it lists.
const LISTINGS: usize = 16;

/// The ledger of one epoch.
pub(in crate::vault::ha) struct ActiveLedger(pub(in crate::vault::ha) Arc<Term>);

impl ActiveLedger {
    fn stamp_at(&self, seq: u64) -> Stamp {
        // A state so old that it is not remembered counts as one from before everything: it conflicts.
        lock(&self.0.state).committer.stamp_at(seq).unwrap_or_default()
    }

    async fn list_committed(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool, u64), StorageError> {
        let shared = &self.0.shared;
        let listing = shared.read(|| shared.parts.backend.list(prefix, after, limit)).await?;
        self.0.saw(&listing.head);
        Ok((listing.keys, listing.more, listing.head.seq))
    }

    async fn list_pending(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Keys, StorageError> {
        for _ in 0..LISTINGS {
            let deleted = {
                let state = lock(&self.0.state);
                state.committer.pending_keys(prefix, after).filter(|(_, is_put)| !is_put).count()
            };
            // Pending deletes may hide as many keys of the committed listing.
            let (keys, more, seq) = self.list_committed(prefix, after, limit.saturating_add(deleted)).await?;
            let state = lock(&self.0.state);
            if !state.committer.is_current_below(prefix, seq) {
                continue;
            }
            // Beyond the last key of a cut listing nothing is known.
            let end = keys.last().filter(|_| more).cloned();
            let mut all: BTreeSet<String> = keys.into_iter().collect();
            for (key, is_put) in state.committer.pending_keys(prefix, after) {
                if end.as_deref().is_some_and(|end| key > end) {
                    continue;
                }
                if is_put {
                    all.insert(key.to_owned());
                } else {
                    all.remove(key);
                }
            }
            if more && all.len() < limit {
                // Deletes that came meanwhile hid more than was asked for in advance.
                continue;
            }
            let more = more || all.len() > limit;
            let keys = all.into_iter().take(limit).collect();
            return Ok(Keys { keys, more, stamp: state.committer.newest_stamp() });
        }
        Err(StorageError::Unavailable {
            storage: self.0.shared.storage(),
            reason: "what was to be listed changes too fast".to_owned(),
        })
    }
}

#[async_trait]
impl Ledger for ActiveLedger {
    fn limits(&self) -> Limits {
        self.0.shared.parts.backend.limits()
    }

    fn time(&self) -> UnixMillis {
        let (now, wall) = (self.0.shared.now(), self.0.shared.unix());
        lock(&self.0.state).committer.time(now, wall)
    }

    fn is_writable(&self) -> bool {
        true
    }

    async fn begin(&self, max_staleness_ms: u64) -> Result<ReadPass, SubmitError> {
        let state = lock(&self.0.state);
        if state.is_over {
            return Err(SubmitError::NotActive);
        }
        let committer = &state.committer;
        Ok(ReadPass {
            floor: committer.acknowledged().clone(),
            begun: committer.newest_stamp(),
            max_staleness_ms,
        })
    }

    async fn get(&self, key: &str, consistency: Consistency) -> Result<Reading, StorageError> {
        if consistency == Consistency::Pending
            && let Some((value, stamp)) = lock(&self.0.state).committer.pending(key)
        {
            return Ok(Reading { value, stamp });
        }
        let shared = &self.0.shared;
        let read = shared.read(|| shared.parts.backend.get(key)).await?;
        self.0.saw(&read.head);
        Ok(Reading { value: read.value, stamp: self.stamp_at(read.head.seq) })
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        consistency: Consistency,
    ) -> Result<Keys, StorageError> {
        if consistency == Consistency::Pending {
            return self.list_pending(prefix, after, limit).await;
        }
        let (keys, more, seq) = self.list_committed(prefix, after, limit).await?;
        Ok(Keys { keys, more, stamp: self.stamp_at(seq) })
    }

    async fn submit(&self, transaction: Transaction) -> Result<Confirmed, SubmitError> {
        if transaction.writes.is_empty() {
            let (pass, newest) = {
                let mut state = lock(&self.0.state);
                state.committer.validate(&transaction)?;
                let floor = state.committer.acknowledged().clone();
                (
                    ReadPass { floor, begun: state.committer.newest_stamp(), max_staleness_ms: 0 },
                    transaction.newest_read(),
                )
            };
            return self.confirm(&pass, newest).await;
        }
        let head = self.0.submit(transaction).await?;
        Ok(Confirmed { head, staleness_ms: None })
    }

    async fn confirm(&self, pass: &ReadPass, newest: Option<Stamp>) -> Result<Confirmed, SubmitError> {
        // What was never committed must not be told, whatever staleness is accepted.
        if let Some(newest) = newest {
            self.0.settle(pass, newest).await?;
        }
        let head = self.0.acknowledged();
        let proven = self.0.prove().await.map(|()| Confirmed { head, staleness_ms: None });
        match proven {
            Err(SubmitError::Storage(error)) => {
                // Relaxed reads may go on while the storage is away, and the answer says so.
                let age = self.0.proven_at().map(|at| self.0.shared.now().since(at));
                match age {
                    Some(age) if age <= Duration::from_millis(pass.max_staleness_ms) => {
                        let staleness = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                        Ok(Confirmed { head: self.0.acknowledged(), staleness_ms: Some(staleness) })
                    }
                    _ => Err(SubmitError::Storage(error)),
                }
            }
            other => other,
        }
    }
}
