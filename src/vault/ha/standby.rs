//! [`StandbyLedger`]: the ledger of a node that is not active.
//!
//! It only reads. A linearizable read asks the active node for a read index after the request arrived, waits until
//! local state has reached it, and afterwards has the newest head that it saw confirmed, because local state may be
//! ahead of what the active node has acknowledged.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::peer::{PeerAddress, PeerClient, PeerRequest, PeerResponse};
use super::status::HaStatus;
use super::term::PATIENCE;
use crate::base::clock::{Clock, Moment, UnixMillis};
use crate::vault::physical::ledger::ReadPass;
use crate::vault::physical::{
    Backend, Confirmed, Consistency, Head, Keys, Ledger, Limits, Reading, Stamp, StorageError, SubmitError,
    Transaction,
};

/// What a standby's ledger needs.
pub struct StandbyParts {
    /// The storage, whose reads are local or as good as local.
    pub backend: Arc<dyn Backend>,
    /// How to ask the active node.
    pub peers: Arc<dyn PeerClient>,
    /// This node's view of leadership: who is active, how far local state has come, whether the storage is away.
    pub status: watch::Receiver<HaStatus>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// This node's identity, so that it never asks itself.
    pub identity: String,
}

/// The ledger of a standby.
pub struct StandbyLedger {
    parts: StandbyParts,
    /// The newest head that the active node confirmed, and when the question was sent.
    confirmed: Mutex<Option<(Moment, Head)>>,
}

impl StandbyLedger {
    /// A ledger over `parts`.
    pub fn new(parts: StandbyParts) -> Arc<Self> {
        Arc::new(Self { parts, confirmed: Mutex::new(None) })
    }

    /// Notes a head that the active node confirmed in answer to a question sent at `asked` (its greeting says so twice
    /// a second): bounded staleness is measured from there.
    pub fn note_confirmed(&self, asked: Moment, head: Head) {
        let mut confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if confirmed.as_ref().is_none_or(|(at, _)| *at < asked) {
            *confirmed = Some((asked, head));
        }
    }

    fn last_confirmed(&self) -> Option<(Moment, Head)> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the active node; [`SubmitError::NotActive`] tells the caller to go to the active node, or to hold.
    async fn ask(&self, message: PeerRequest) -> Result<Head, SubmitError> {
        let status = self.parts.status.borrow().clone();
        if let Some(away) = status.storage_away {
            return Err(self.away(away));
        }
        let leader = status.leader.filter(|leader| leader.identity != self.parts.identity);
        let leader = leader.ok_or(SubmitError::NotActive)?;
        let peer = PeerAddress { identity: leader.identity, cluster_addr: leader.cluster_addr };
        let asked = self.parts.clock.now();
        // The active node itself waits as long as its patience lasts before it says that the storage is away.
        let answer =
            tokio::time::timeout(PATIENCE + PATIENCE / 4, self.parts.peers.ask(&peer, message)).await;
        match answer {
            Ok(Ok(PeerResponse::Head(head))) => {
                self.note_confirmed(asked, head.clone());
                Ok(head)
            }
            Ok(Ok(PeerResponse::Failed { reason })) => Err(self.away(reason)),
            Ok(Ok(_) | Err(_)) | Err(_) => Err(SubmitError::NotActive),
        }
    }

    fn away(&self, reason: String) -> SubmitError {
        SubmitError::Storage(StorageError::Unavailable { storage: self.parts.backend.kind(), reason })
    }

    /// Waits until local state has reached `seq`.
    async fn reach(&self, seq: u64) -> Result<(), SubmitError> {
        let mut status = self.parts.status.clone();
        let reached = status.wait_for(|status| status.head.as_ref().is_some_and(|head| head.seq >= seq));
        match tokio::time::timeout(PATIENCE, reached).await {
            Ok(Ok(_)) => Ok(()),
            // The active node is in touch with the storage and this one lags: the active one serves the read.
            Ok(Err(_)) | Err(_) => Err(SubmitError::NotActive),
        }
    }

    /// The staleness of local state if the bound allows it, in milliseconds.
    fn bounded(&self, max_staleness_ms: u64) -> Option<(u64, Head)> {
        let (at, head) = self.last_confirmed()?;
        let local = self.parts.status.borrow().head.as_ref().map(|head| head.seq)?;
        if local < head.seq {
            return None;
        }
        let age = u64::try_from(self.parts.clock.now().since(at).as_millis()).unwrap_or(u64::MAX);
        (age <= max_staleness_ms).then_some((age, head))
    }
}

#[async_trait]
impl Ledger for StandbyLedger {
    fn limits(&self) -> Limits {
        self.parts.backend.limits()
    }

    fn time(&self) -> UnixMillis {
        // Cluster time is the active node's; on an idle cluster the local wall clock carries it on, never backwards.
        let last = self.parts.status.borrow().head.as_ref().map_or(UnixMillis(0), |head| head.time);
        self.parts.clock.unix().max(last)
    }

    fn is_writable(&self) -> bool {
        false
    }

    async fn begin(&self, max_staleness_ms: u64) -> Result<ReadPass, SubmitError> {
        if max_staleness_ms > 0
            && let Some((_, floor)) = self.bounded(max_staleness_ms)
        {
            return Ok(ReadPass { floor, begun: Stamp::default(), max_staleness_ms });
        }
        let floor = self.ask(PeerRequest::ReadIndex).await?;
        self.reach(floor.seq).await?;
        Ok(ReadPass { begun: Stamp(floor.seq), floor, max_staleness_ms })
    }

    async fn get(&self, key: &str, _consistency: Consistency) -> Result<Reading, StorageError> {
        let read = self.parts.backend.get(key).await?;
        Ok(Reading { value: read.value, stamp: Stamp(read.head.seq) })
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        _consistency: Consistency,
    ) -> Result<Keys, StorageError> {
        let listing = self.parts.backend.list(prefix, after, limit).await?;
        Ok(Keys { keys: listing.keys, more: listing.more, stamp: Stamp(listing.head.seq) })
    }

    async fn submit(&self, _transaction: Transaction) -> Result<Confirmed, SubmitError> {
        Err(SubmitError::NotActive)
    }

    async fn confirm(&self, pass: &ReadPass, newest: Option<Stamp>) -> Result<Confirmed, SubmitError> {
        let newest = newest.unwrap_or_default();
        if pass.max_staleness_ms > 0
            && let Some((age, head)) = self.bounded(pass.max_staleness_ms)
        {
            return Ok(Confirmed { head, staleness_ms: Some(age) });
        }
        if newest.0 <= pass.floor.seq {
            return Ok(Confirmed { head: pass.floor.clone(), staleness_ms: None });
        }
        let head = self.ask(PeerRequest::ConfirmHead { seq: newest.0 }).await?;
        Ok(Confirmed { head, staleness_ms: None })
    }
}
