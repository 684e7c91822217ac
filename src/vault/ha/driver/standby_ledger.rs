//! [`StandbyLedger`]: what requests read through on a node that is not active.
//!
//! Local state may be behind the active node, or ahead of what it has acknowledged. So a read asks the active node
//! twice at most: when it arrives, for the index that local state must have reached; and, if it then saw something
//! newer, for the acknowledgement of that.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::member::{Shared, lock};
use super::storage::READ_TIMEOUT;
use crate::base::clock::UnixMillis;
use crate::vault::ha::election::Event;
use crate::vault::ha::peer::{PeerAddress, PeerRequest, PeerResponse};
use crate::vault::physical::{
    Confirmed, Consistency, Head, Keys, Ledger, Limits, ReadPass, Reading, Stamp, StorageError, SubmitError,
    Transaction,
};

/// How long local state may take to reach an index.
const REACH: Duration = Duration::from_millis(500);
/// How long the active node may take to answer; then the request itself goes there. Longer than the check that it makes
/// (`CHECK_TIMEOUT`), so that its reason is heard if the storage is away.
const ASK: Duration = Duration::from_millis(800);

/// A ledger that only reads. Its stamps are sequence numbers of heads.
pub(in crate::vault::ha) struct StandbyLedger(pub(in crate::vault::ha) Arc<Shared>);

impl StandbyLedger {
    /// Asks the active node for a head, and notes the proof that its answer is.
    async fn ask(&self, request: PeerRequest) -> Result<Head, SubmitError> {
        let shared = &self.0;
        // Without a known leader, and wherever asking it fails, the caller turns to whoever leads by then.
        let leader = shared.leader().ok_or(SubmitError::NotActive)?;
        let peer = PeerAddress { identity: leader.identity, cluster_addr: leader.cluster_addr };
        match tokio::time::timeout(ASK, shared.parts.peers.ask(&peer, request)).await {
            Ok(Ok(PeerResponse::Head(head))) => Ok(head),
            Ok(Ok(PeerResponse::Failed { reason })) => {
                Err(SubmitError::Storage(StorageError::Unavailable { storage: shared.storage(), reason }))
            }
            Ok(Ok(_) | Err(_)) | Err(_) => {
                Err(shared.away().map_or(SubmitError::NotActive, SubmitError::Storage))
            }
        }
    }

    /// What the active node had acknowledged at some moment after this call. Reads that wait at the same time share the
    /// question.
    async fn read_index(&self) -> Result<Head, SubmitError> {
        let shared = &self.0;
        let leader = shared.leader().ok_or(SubmitError::NotActive)?;
        let asker = Self(Arc::clone(shared));
        let question = move || async move { asker.ask(PeerRequest::ReadIndex).await };
        shared.index.ask(&leader.identity, question).await
    }

    /// The last proof of local state that is at most `most_ms` old, with its age.
    fn proof(&self, most_ms: u64) -> Option<(Head, u64)> {
        let now = self.0.now();
        let (at, head) = lock(&self.0.proof).clone()?;
        let age = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        (age <= most_ms).then_some((head, age))
    }

    fn saw(&self, head: &Head) {
        let is_newer = self.0.highest().is_none_or(|highest| head.epoch > highest.epoch);
        if is_newer {
            self.0.hint(Event::Saw(head.clone()));
        }
    }
}

#[async_trait]
impl Ledger for StandbyLedger {
    fn limits(&self) -> Limits {
        self.0.parts.backend.limits()
    }

    fn time(&self) -> UnixMillis {
        let committed = self.0.followed.borrow().as_ref().map_or(UnixMillis(0), |head| head.time);
        // What expires is judged by cluster time, which no clock that jumped may carry away.
        committed.max(self.0.believable_time())
    }

    fn is_writable(&self) -> bool {
        false
    }

    async fn begin(&self, max_staleness_ms: u64) -> Result<ReadPass, SubmitError> {
        if max_staleness_ms > 0
            && let Some((floor, _)) = self.proof(max_staleness_ms)
        {
            return Ok(ReadPass { begun: Stamp(floor.seq), floor, max_staleness_ms });
        }
        let asked_at = self.0.now();
        let floor = self.read_index().await?;
        if !self.0.reach(floor.seq, REACH).await {
            return Err(SubmitError::Storage(StorageError::Unavailable {
                storage: self.0.storage(),
                reason: "this node's copy of the state is behind the active node".to_owned(),
            }));
        }
        self.0.note_proof(asked_at, floor.clone());
        Ok(ReadPass { begun: Stamp(floor.seq), floor, max_staleness_ms })
    }

    async fn get(&self, key: &str, _consistency: Consistency) -> Result<Reading, StorageError> {
        let read = self.0.bounded(READ_TIMEOUT, self.0.parts.backend.get(key)).await?;
        self.saw(&read.head);
        Ok(Reading { value: read.value, stamp: Stamp(read.head.seq) })
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        _consistency: Consistency,
    ) -> Result<Keys, StorageError> {
        let listing = self.0.bounded(READ_TIMEOUT, self.0.parts.backend.list(prefix, after, limit)).await?;
        self.saw(&listing.head);
        Ok(Keys { keys: listing.keys, more: listing.more, stamp: Stamp(listing.head.seq) })
    }

    async fn submit(&self, _transaction: Transaction) -> Result<Confirmed, SubmitError> {
        Err(SubmitError::NotActive)
    }

    async fn confirm(&self, pass: &ReadPass, newest: Option<Stamp>) -> Result<Confirmed, SubmitError> {
        if pass.max_staleness_ms > 0
            && let Some((head, age)) = self.proof(pass.max_staleness_ms)
        {
            return Ok(Confirmed { head, staleness_ms: Some(age) });
        }
        match newest {
            Some(newest) if newest.0 > pass.floor.seq => {
                let head = self.ask(PeerRequest::ConfirmHead { seq: newest.0 }).await?;
                Ok(Confirmed { head, staleness_ms: None })
            }
            _ => Ok(Confirmed { head: pass.floor.clone(), staleness_ms: None }),
        }
    }
}
