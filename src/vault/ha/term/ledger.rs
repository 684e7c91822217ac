//! [`ActiveLedger`]: the ledger of the active node.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::vault::ha::committer::Settled;
use super::{ActiveTerm, PATIENCE, Shared};
use crate::base::clock::UnixMillis;
use crate::vault::physical::ledger::ReadPass;
use crate::vault::physical::{
    Confirmed, Consistency, Head, Keys, Ledger, Limits, Reading, Stamp, StorageError, SubmitError,
    Transaction,
};

/// Reads of state that a commit overtook while it was read; each is made again at once.
const MOST_ATTEMPTS: usize = 20;

/// The ledger of one term. It outlives the term's leadership: then it answers that this node is not active.
pub(super) struct ActiveLedger {
    term: Arc<ActiveTerm>,
}

impl ActiveLedger {
    pub(super) fn new(term: Arc<ActiveTerm>) -> Self {
        Self { term }
    }

    fn shared(&self) -> &Shared {
        &self.term.shared
    }

    fn stamp_of(&self, head: &Head) -> Option<Stamp> {
        self.shared().lock().committer.stamp_at(head.seq)
    }

    fn overtaken(&self) -> StorageError {
        self.shared().unavailable("the state that was read is older than this node's memory")
    }
}

#[async_trait]
impl Ledger for ActiveLedger {
    fn limits(&self) -> Limits {
        self.shared().parts.backend.limits()
    }

    fn time(&self) -> UnixMillis {
        let shared = self.shared();
        let (now, wall) = (shared.now(), shared.parts.clock.unix());
        shared.lock().committer.time(now, wall)
    }

    fn is_writable(&self) -> bool {
        true
    }

    async fn begin(&self, max_staleness_ms: u64) -> Result<ReadPass, SubmitError> {
        let now = self.shared().now();
        let state = self.shared().lock();
        if state.is_over() {
            return Err(SubmitError::NotActive);
        }
        if max_staleness_ms == 0
            && let Some(error) = state.long_away(now)
        {
            return Err(SubmitError::Storage(error));
        }
        let floor = state.committer.acknowledged().clone();
        Ok(ReadPass { floor, begun: state.committer.newest_stamp(), max_staleness_ms })
    }

    async fn get(&self, key: &str, consistency: Consistency) -> Result<Reading, StorageError> {
        // The stamp is taken before the read: whatever is accepted later is a conflict, and whatever was accepted
        // earlier is in the overlay or, committed, in what the storage returns.
        let before = {
            let state = self.shared().lock();
            if consistency == Consistency::Pending
                && let Some((value, stamp)) = state.committer.pending(key)
            {
                return Ok(Reading { value, stamp });
            }
            state.committer.newest_stamp()
        };
        for _ in 0..MOST_ATTEMPTS {
            let read = self.shared().parts.backend.get(key).await?;
            if consistency == Consistency::Pending {
                return Ok(Reading { value: read.value, stamp: before });
            }
            if let Some(stamp) = self.stamp_of(&read.head) {
                return Ok(Reading { value: read.value, stamp });
            }
        }
        Err(self.overtaken())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        consistency: Consistency,
    ) -> Result<Keys, StorageError> {
        for _ in 0..MOST_ATTEMPTS {
            let (before, pending) = {
                let state = self.shared().lock();
                let pending: Vec<(String, bool)> = match consistency {
                    Consistency::Pending => state
                        .committer
                        .pending_keys(prefix, after)
                        .map(|(key, present)| (key.to_owned(), present))
                        .collect(),
                    Consistency::Committed => Vec::new(),
                };
                (state.committer.newest_stamp(), pending)
            };
            // Pending deletes may empty the page: ask for as many more.
            let wanted = limit.saturating_add(pending.iter().filter(|(_, present)| !present).count());
            let listing = self.shared().parts.backend.list(prefix, after, wanted).await?;
            if consistency == Consistency::Pending {
                let (keys, more) = merge(listing.keys, listing.more, &pending, limit);
                return Ok(Keys { keys, more, stamp: before });
            }
            if let Some(stamp) = self.stamp_of(&listing.head) {
                return Ok(Keys { keys: listing.keys, more: listing.more, stamp });
            }
        }
        Err(self.overtaken())
    }

    async fn submit(&self, transaction: Transaction) -> Result<Confirmed, SubmitError> {
        let shared = self.shared();
        let receiver = {
            let now = shared.now();
            let mut state = shared.lock();
            if let Some(error) = state.long_away(now) {
                return Err(SubmitError::Storage(error));
            }
            state.next_id += 1;
            let id = state.next_id;
            state.committer.submit(id, transaction)?;
            let (sender, receiver) = oneshot::channel();
            state.waiters.insert(id, sender);
            receiver
        };
        shared.commit_wake.notify_one();
        // Bounded: the commit loop tells everybody once the storage has not answered for a while, and a deposed node
        // gives up without proof.
        match receiver.await {
            Ok(result) => result.map(|head| Confirmed { head, staleness_ms: None }),
            Err(_) => Err(SubmitError::Unknown { reason: "this node stopped meanwhile".to_owned() }),
        }
    }

    async fn confirm(&self, pass: &ReadPass, newest: Option<Stamp>) -> Result<Confirmed, SubmitError> {
        let shared = self.shared();
        let newest = newest.unwrap_or(pass.begun);
        let settled = shared
            .until(PATIENCE, |state| match state.committer.settled(pass.begun, newest) {
                Settled::Committed => Some(Ok(state.committer.acknowledged().clone())),
                Settled::Failed => Some(Err(SubmitError::NotApplied)),
                Settled::Pending if state.is_over() => Some(Err(SubmitError::NotActive)),
                Settled::Pending => None,
            })
            .await;
        let head = match settled {
            Some(settled) => settled?,
            None => return Err(shared.away("a commit is not confirmed")),
        };
        match shared.leading().await {
            Ok(()) => Ok(Confirmed { head, staleness_ms: None }),
            Err(error @ SubmitError::Storage(_)) if pass.max_staleness_ms > 0 => {
                let proven = shared.lock().proven.0;
                let age = u64::try_from(shared.now().since(proven).as_millis()).unwrap_or(u64::MAX);
                if age <= pass.max_staleness_ms {
                    Ok(Confirmed { head, staleness_ms: Some(age) })
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Committed keys with the pending ones put in and taken out; both are in byte order.
fn merge(
    committed: Vec<String>,
    more: bool,
    pending: &[(String, bool)],
    limit: usize,
) -> (Vec<String>, bool) {
    // Beyond the last key of an incomplete page nothing is known.
    let end = if more { committed.last().cloned() } else { None };
    let mut keys: std::collections::BTreeSet<String> = committed.into_iter().collect();
    for (key, present) in pending {
        if end.as_ref().is_some_and(|end| key > end) {
            continue;
        }
        if *present {
            keys.insert(key.clone());
        } else {
            keys.remove(key);
        }
    }
    let more = more || keys.len() > limit;
    (keys.into_iter().take(limit).collect(), more)
}

#[cfg(test)]
mod tests {
    use super::merge;

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn pending_keys_join_and_leave_a_page() {
        let pending = [("b".to_owned(), true), ("c".to_owned(), false), ("z".to_owned(), true)];
        assert_eq!(merge(keys(&["a", "c", "d"]), false, &pending, 10), (keys(&["a", "b", "d", "z"]), false));
        assert_eq!(merge(keys(&["a", "c", "d"]), true, &pending, 10), (keys(&["a", "b", "d"]), true));
        assert_eq!(merge(keys(&["a", "c", "d"]), false, &pending, 2), (keys(&["a", "b"]), true));
    }
}
