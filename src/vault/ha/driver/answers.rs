//! Answers to peers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::member::{Shared, lock};
use super::term::Term;
use crate::vault::ha::election::Event;
use crate::vault::ha::peer::{NodeReport, PeerRequest, PeerResponse};
use crate::vault::ha::status::PeerStatus;
use crate::vault::physical::{Head, StorageError, SubmitError};

/// How long a successor may take to catch up before the old active node has stopped.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Most peers that are remembered.
const MOST_PEERS: usize = 64;

/// After this silence a peer is forgotten.
const FORGET: Duration = Duration::from_secs(300);

impl Shared {
    /// Answers the peer whose certificate names `from`.
    pub(in crate::vault::ha) async fn answer(&self, from: &str, request: PeerRequest) -> PeerResponse {
        match request {
            PeerRequest::Hello(report) => {
                self.note_peer(from, report);
                self.hello()
            }
            PeerRequest::ReachStorage => match self.check().await {
                Ok(Some(_)) => PeerResponse::Done,
                Ok(None) => failed("the storage holds no vault"),
                Err(error) => failed(&error.to_string()),
            },
            PeerRequest::ReadIndex => self.answer_index(None).await,
            PeerRequest::ConfirmHead { seq } => self.answer_index(Some(seq)).await,
            PeerRequest::PrepareHandover { head } => self.prepare(&head).await,
            PeerRequest::Renounced { .. } => {
                self.hint(Event::Nudged);
                PeerResponse::Done
            }
        }
    }

    /// The term of a node that serves.
    pub(super) fn serving_term(&self) -> Option<Arc<Term>> {
        if self.is_serving.load(Ordering::Acquire) { self.term() } else { None }
    }

    fn hello(&self) -> PeerResponse {
        let now = self.now();
        let proof = self.serving_term().and_then(|term| {
            // The proof first: the head that is read after it holds everything acknowledged by then.
            let at = term.proven_at()?;
            Some((at, term.acknowledged()))
        });
        let (proven, proven_ms_ago) = match proof {
            Some((at, head)) => (Some(head), u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)),
            None => (None, 0),
        };
        // Everybody greets the active node, so it is the one that knows all clocks.
        let median_ahead_ms = self.serving_term().and_then(|_| self.median_ahead_ms());
        if let Some(ahead_ms) = median_ahead_ms {
            self.hear_clocks(ahead_ms);
        }
        PeerResponse::Hello { report: Box::new(self.report()), proven, proven_ms_ago, median_ahead_ms }
    }

    async fn answer_index(&self, seq: Option<u64>) -> PeerResponse {
        let Some(term) = self.serving_term() else { return self.not_active() };
        if let Some(seq) = seq
            && let Err(error) = term.acknowledge(seq).await
        {
            return self.refuse(&error);
        }
        // Noted first, proven after: whatever was acknowledged before the question is in it.
        let head = term.acknowledged();
        match term.prove().await {
            Ok(()) => PeerResponse::Head(head),
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(&self, error: &SubmitError) -> PeerResponse {
        match error {
            SubmitError::NotActive => self.not_active(),
            // Whoever asked names the storage itself.
            SubmitError::Storage(StorageError::Unavailable { reason, .. }) => failed(reason),
            other => failed(&other.to_string()),
        }
    }

    fn not_active(&self) -> PeerResponse {
        PeerResponse::NotActive { leader: self.status.borrow().leader.clone() }
    }

    async fn prepare(&self, head: &Head) -> PeerResponse {
        if !lock(&self.view).could_take_over {
            return failed("this node cannot take over");
        }
        if let Err(error) = self.check().await {
            return failed(&error.to_string());
        }
        if self.reach(head.seq, CATCH_UP).await { PeerResponse::Done } else { failed("still catching up") }
    }

    /// Notes what a peer says about itself. `from` is what its certificate says, and counts.
    pub(super) fn note_peer(&self, from: &str, report: NodeReport) {
        if report.identity != from || from == self.parts.settings.identity {
            return;
        }
        let now = self.now();
        let peer = PeerStatus {
            identity: report.identity,
            api_addr: report.api_addr,
            cluster_addr: report.cluster_addr,
            version: report.version,
            is_able: report.is_able,
            is_resting: report.is_resting,
            is_active: report.is_active,
            format: report.format,
            head: report.head,
            clock_zero_ms: self.zero_of(report.time),
            last_heard: now,
            last_heard_unix: self.unix(),
        };
        let mut table = lock(&self.table);
        table.retain(|_, known| now.since(known.last_heard) < FORGET);
        if table.len() < MOST_PEERS || table.contains_key(from) {
            table.insert(from.to_owned(), peer);
        }
    }
}

fn failed(reason: &str) -> PeerResponse {
    PeerResponse::Failed { reason: reason.to_owned() }
}
