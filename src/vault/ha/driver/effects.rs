//! Effects: what the election asks for, carried out.
//!
//! What takes time becomes a task of its own that reports back with an event; what must be done before the next effect
//! (renouncing, above all) is done at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::active_ledger::ActiveLedger;
use super::member::{Shared, lock};
use super::term::Term;
use crate::base::task::{spawn, spawn_apart};
use crate::vault::ha::election::{Effect, Event, Successor};
use crate::vault::ha::peer::{PeerAddress, PeerRequest, PeerResponse};
use crate::vault::physical::{Commit, Head, LockRecord, Swap, Version};

/// Longest wait for the lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the answer to a claim.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(3);

/// How long local state may take to reach the claim.
const CATCH_UP: Duration = Duration::from_secs(4);

/// How long the vault may take to load what an active node needs.
const PROMOTION: Duration = Duration::from_secs(30);

/// How long the vault may take to prove that it serves: longer than a pause of the storage.
const PROBE: Duration = Duration::from_secs(3);

/// How long peers may take to answer.
const PEERS: Duration = Duration::from_secs(2);

/// Peers that were heard of within this time may take over.
const RECENT: Duration = Duration::from_secs(3);

/// How long to wait for the greeting of a node that could take over, and how often to look.
const GREETINGS: Duration = Duration::from_millis(1200);
const LISTEN: Duration = Duration::from_millis(20);

impl Shared {
    /// Carries out one effect.
    pub(super) fn carry_out(self: &Arc<Self>, effect: Effect) {
        let shared = Arc::clone(self);
        match effect {
            Effect::ReadLock { number } => {
                _ = spawn("ha-read-lock", async move { shared.read_lock(number).await })
            }
            Effect::Swap { number, expected, record } => {
                spawn("ha-write-lock", async move { shared.write_lock(number, expected, record).await });
            }
            Effect::Check { number } => {
                spawn("ha-check", async move {
                    // The election was told.
                    let _ = shared.check_for(number).await;
                });
            }
            Effect::Claim { expected, next } => {
                spawn("ha-claim", async move { shared.claim(expected, next).await });
            }
            Effect::CatchUp { claim } => {
                spawn("ha-catch-up", async move {
                    let is_done = shared.reach(claim.seq, CATCH_UP).await;
                    shared.tell(Event::CaughtUp { epoch: claim.epoch, is_done }).await;
                });
            }
            Effect::Promote { claim } => self.promote(claim),
            Effect::Serve => {
                self.is_holding.store(false, Ordering::Release);
                self.is_serving.store(true, Ordering::Release);
                tracing::info!("acquired lock, enabling active operation");
            }
            Effect::Demote => self.demote(),
            Effect::Suspend(is_suspended) => self.with_term(|term| term.suspend(is_suspended)),
            Effect::Probe { number } => {
                spawn("ha-probe", async move { shared.probe(number).await });
            }
            Effect::AskStorage { number } => {
                spawn("ha-ask-storage", async move { shared.ask_peers_for_storage(number).await });
            }
            passing => self.pass_on(passing),
        }
    }

    /// Carries out the effects of a handover, and of what ends an office.
    fn pass_on(self: &Arc<Self>, effect: Effect) {
        let shared = Arc::clone(self);
        match effect {
            Effect::FindSuccessors { number } => {
                spawn("ha-successors", async move { shared.find_successors(number).await });
            }
            Effect::Prepare { identity } => {
                spawn("ha-prepare", async move { shared.prepare_peer(identity).await });
            }
            Effect::Hold => {
                self.is_holding.store(true, Ordering::Release);
                spawn("ha-drain", async move {
                    shared.running.none().await;
                    shared.tell(Event::Drained { commits: false }).await;
                });
            }
            Effect::Resume => {
                self.with_term(Term::reopen);
                self.is_holding.store(false, Ordering::Release);
            }
            Effect::CloseCommits => self.close_commits(),
            Effect::Renounce => self.with_term(Term::end_reads),
            Effect::Tell { identity, epoch } => {
                spawn("ha-tell", async move {
                    if let Some(peer) = shared.address_of(&identity) {
                        // A hint: the watch on the lock tells as well.
                        let ask = shared.parts.peers.ask(&peer, PeerRequest::Renounced { epoch });
                        let _ = tokio::time::timeout(PEERS, ask).await;
                    }
                });
            }
            Effect::HandoverEnded(result) => {
                for waiter in lock(&self.handover_waiters).drain(..) {
                    // Who does not wait any more does not want to know.
                    let _ = waiter.send(result.clone());
                }
            }
            Effect::RolledBack { reason } => {
                tracing::error!(
                    reason,
                    "the storage went back in time: this process serves nothing any more"
                );
                spawn("ha-rolled-back", async move { shared.parts.candidate.storage_rolled_back().await });
            }
            // The others are carried out above.
            _ => {}
        }
    }

    fn with_term(&self, act: impl FnOnce(&Term)) {
        if let Some(term) = self.term() {
            act(&term);
        }
    }

    async fn read_lock(&self, number: u64) {
        let Some(lock) = &self.parts.lock else { return };
        let event = match tokio::time::timeout(LOCK_TIMEOUT, lock.read()).await {
            Ok(Ok(content)) => Event::Lock { number, content },
            Ok(Err(error)) => {
                tracing::debug!(%error, "the lock cannot be read");
                Event::LockAway
            }
            Err(_) => Event::LockAway,
        };
        self.tell(event).await;
    }

    async fn write_lock(&self, number: u64, expected: Option<Version>, record: LockRecord) {
        let Some(lock) = &self.parts.lock else { return };
        let swap = tokio::time::timeout(LOCK_TIMEOUT, lock.swap(expected.as_ref(), &record)).await;
        let outcome = swap.unwrap_or_else(|_| Swap::Unknown { reason: "no answer in time".to_owned() });
        self.tell(Event::Swapped { number, outcome }).await;
    }

    async fn claim(&self, expected: Head, next: Head) {
        let commit =
            tokio::time::timeout(CLAIM_TIMEOUT, self.parts.backend.commit(Some(&expected), &next, &[])).await;
        let answer = commit.unwrap_or_else(|_| Commit::Unknown { reason: "no answer in time".to_owned() });
        self.tell(Event::ClaimAnswered { batch: next.batch_id, answer }).await;
    }

    fn promote(self: &Arc<Self>, claim: Head) {
        let term = Arc::new(Term::new(Arc::clone(self), claim));
        *lock(&self.term) = Some(Arc::clone(&term));
        spawn_apart("ha-commits", Arc::clone(&term).commit_loop());
        spawn("ha-checks", Arc::clone(&term).check_loop());
        let shared = Arc::clone(self);
        spawn("ha-promote", async move {
            let epoch = term.epoch();
            let promoted = shared.parts.candidate.promoted(Arc::new(ActiveLedger(term)));
            let is_done = match tokio::time::timeout(PROMOTION, promoted).await {
                Ok(Ok(())) => true,
                Ok(Err(reason)) => {
                    tracing::error!(reason, "this node cannot become active");
                    false
                }
                Err(_) => {
                    tracing::error!("this node took too long to become active");
                    false
                }
            };
            shared.tell(Event::Promoted { epoch, is_done }).await;
        });
    }

    fn demote(self: &Arc<Self>) {
        if self.is_serving.swap(false, Ordering::AcqRel) {
            tracing::info!("leadership lost, stopping active operation");
        }
        self.is_holding.store(false, Ordering::Release);
        let Some(term) = lock(&self.term).take() else { return };
        term.end();
        self.keep_counters(&term);
        let shared = Arc::clone(self);
        spawn("ha-demote", async move { shared.parts.candidate.demoted().await });
    }

    fn keep_counters(&self, term: &Term) {
        let (counters, ..) = term.figures();
        let mut past = lock(&self.past);
        past.commits += counters.commits;
        past.transactions += counters.transactions;
        past.largest_batch = past.largest_batch.max(counters.largest_batch);
        past.fenced += counters.fenced;
        past.unknown += counters.unknown;
        past.conflicts += counters.conflicts;
    }

    /// Whether this node can serve: a read through the pipeline, and a check.
    async fn probe(&self, number: u64) {
        let Some(term) = self.term() else { return };
        let read = tokio::time::timeout(PROBE, self.parts.candidate.probe(Arc::new(ActiveLedger(term))));
        let (read, is_reached) = tokio::join!(read, self.reach_storage());
        let is_serving = match read {
            Ok(Ok(())) => is_reached,
            Ok(Err(reason)) => {
                tracing::warn!(reason, "this node cannot serve at the moment");
                false
            }
            Err(_) => false,
        };
        self.tell(Event::Probed { number, is_serving }).await;
    }

    async fn ask_peers_for_storage(&self, number: u64) {
        let mut asks = futures_util::stream::FuturesUnordered::new();
        for (peer, status) in self.recent_peers(RECENT) {
            if status.is_able && !status.is_resting {
                asks.push(async move {
                    let ask = self.parts.peers.ask(&peer, PeerRequest::ReachStorage);
                    let answer = tokio::time::timeout(PEERS, ask).await;
                    matches!(answer, Ok(Ok(PeerResponse::Done))).then_some(peer.identity)
                });
            }
        }
        let mut by = None;
        while let Some(answer) = futures_util::StreamExt::next(&mut asks).await {
            by = answer;
            if by.is_some() {
                break;
            }
        }
        drop(asks);
        self.tell(Event::StorageReached { number, by }).await;
    }

    /// Who could take over. A node that has just become active hears of the others within a greeting's time; those that
    /// rest are enough only then.
    async fn find_successors(&self, number: u64) {
        let deadline = self.now().plus(GREETINGS);
        let nodes = loop {
            let nodes: Vec<Successor> = self
                .recent_peers(RECENT)
                .into_iter()
                // What a peer said while it was active itself says nothing about now.
                .filter(|(_, peer)| peer.is_able && !peer.is_active)
                .map(|(_, peer)| Successor {
                    identity: peer.identity,
                    head: peer.head,
                    is_able: peer.is_able,
                    is_resting: peer.is_resting,
                    format: peer.format,
                })
                .collect();
            if nodes.iter().any(|node| !node.is_resting) || self.now() >= deadline {
                break nodes;
            }
            tokio::time::sleep(LISTEN).await;
        };
        self.tell(Event::Successors { number, nodes }).await;
    }

    pub(super) fn address_of(&self, identity: &str) -> Option<PeerAddress> {
        let table = lock(&self.table);
        let peer = table.get(identity)?;
        Some(PeerAddress { identity: peer.identity.clone(), cluster_addr: peer.cluster_addr.clone() })
    }

    async fn prepare_peer(&self, identity: String) {
        let head = self.term().map(|term| term.acknowledged());
        let is_ready = match (self.address_of(&identity), head) {
            (Some(peer), Some(head)) => {
                let ask = self.parts.peers.ask(&peer, PeerRequest::PrepareHandover { head });
                matches!(tokio::time::timeout(PEERS, ask).await, Ok(Ok(PeerResponse::Done)))
            }
            _ => false,
        };
        self.tell(Event::Prepared { identity, is_ready }).await;
    }

    fn close_commits(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let term = self.term();
        spawn("ha-close", async move {
            if let Some(term) = term {
                term.close().await;
            }
            shared.tell(Event::Drained { commits: true }).await;
        });
    }
}
