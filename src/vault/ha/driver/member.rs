//! [`Shared`]: what the tasks and ledgers of one node have in common.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use super::joint::Joint;
use super::term::Term;
use crate::base::clock::{Clock, Moment, UnixMillis};
use crate::base::random::Random;
use crate::base::task::Shutdown;
use crate::vault::ha::candidate::Candidate;
use crate::vault::ha::election::Event;
use crate::vault::ha::outage::Outage;
use crate::vault::ha::peer::{NodeReport, PeerAddress, PeerClient};
use crate::vault::ha::settings::HaSettings;
use crate::vault::ha::status::{HaStatus, PeerStatus};
use crate::vault::ha::wall_clock::{WallClock, median_ahead_ms};
use crate::vault::physical::head::FORMAT;
use crate::vault::physical::{ActiveRecord, Backend, FeedEvent, HaBackend, Head, SubmitError};

/// How old what a peer says about its clock may be; it is said twice a second.
const CLOCKS: Duration = Duration::from_secs(10);

/// Locks a mutex whose holders never panic between two changes that belong together.
pub(in crate::vault::ha) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parts that a node is made of.
pub(in crate::vault::ha) struct Parts {
    pub(in crate::vault::ha) settings: HaSettings,
    pub(in crate::vault::ha) backend: Arc<dyn Backend>,
    pub(in crate::vault::ha) lock: Option<Arc<dyn HaBackend>>,
    pub(in crate::vault::ha) peers: Arc<dyn PeerClient>,
    pub(in crate::vault::ha) clock: Arc<dyn Clock>,
    pub(in crate::vault::ha) random: Arc<dyn Random>,
    pub(in crate::vault::ha) candidate: Arc<dyn Candidate>,
    pub(in crate::vault::ha) shutdown: Shutdown,
}

/// What the ledgers and peers need of the election, refreshed after each of its steps.
#[derive(Debug, Clone, Default)]
pub(in crate::vault::ha) struct View {
    pub(in crate::vault::ha) highest: Option<Head>,
    pub(in crate::vault::ha) could_take_over: bool,
    pub(in crate::vault::ha) could_stand: bool,
    pub(in crate::vault::ha) active: Option<ActiveRecord>,
    pub(in crate::vault::ha) elections: u64,
    pub(in crate::vault::ha) promotions: u64,
}

/// Requests that run, so that a handover can wait for them.
#[derive(Debug, Default)]
pub(in crate::vault::ha) struct Running {
    count: AtomicU64,
    changed: Notify,
}

impl Running {
    pub(in crate::vault::ha) fn enter(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    pub(in crate::vault::ha) fn leave(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.notify_waiters();
        }
    }

    pub(in crate::vault::ha) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until no request runs.
    pub(super) async fn none(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            changed.await;
        }
    }
}

/// What one node's tasks share.
pub(in crate::vault::ha) struct Shared {
    pub(in crate::vault::ha) parts: Parts,
    pub(in crate::vault::ha) events: mpsc::Sender<Event>,
    pub(in crate::vault::ha) status: watch::Sender<HaStatus>,
    pub(in crate::vault::ha) feed: broadcast::Sender<FeedEvent>,
    /// The head that the feed has reached here.
    pub(in crate::vault::ha) followed: watch::Sender<Option<Head>>,
    /// The last moment at which local state was proven current, and the head that it had.
    pub(in crate::vault::ha) proof: Mutex<Option<(Moment, Head)>>,
    pub(in crate::vault::ha) term: Mutex<Option<Arc<Term>>>,
    pub(in crate::vault::ha) newest: Mutex<Option<Head>>,
    pub(in crate::vault::ha) view: Mutex<View>,
    pub(in crate::vault::ha) table: Mutex<BTreeMap<String, PeerStatus>>,
    pub(in crate::vault::ha) running: Arc<Running>,
    pub(in crate::vault::ha) is_holding: AtomicBool,
    pub(in crate::vault::ha) is_serving: AtomicBool,
    /// This node's wall clock as far as it can be believed; carried on by every step of the election.
    pub(in crate::vault::ha) wall: Mutex<WallClock>,
    pub(in crate::vault::ha) handover_waiters: Mutex<Vec<oneshot::Sender<Result<(), String>>>>,
    pub(in crate::vault::ha) checks: AtomicU64,
    /// Whether the storage counts as away: for whoever waits for it.
    pub(in crate::vault::ha) outage: Mutex<Outage>,
    /// Questions of reads on a standby for the index that local state must have reached.
    pub(in crate::vault::ha) index: Arc<Joint<Result<Head, SubmitError>>>,
    /// Counters of terms that have ended.
    pub(in crate::vault::ha) past: Mutex<crate::vault::ha::committer::Counters>,
}

impl Shared {
    pub(in crate::vault::ha) fn now(&self) -> Moment {
        self.parts.clock.now()
    }

    pub(in crate::vault::ha) fn unix(&self) -> UnixMillis {
        self.parts.clock.unix()
    }

    /// The wall clock without its jumps since this process started, corrected by the clocks of the peers.
    pub(in crate::vault::ha) fn believable_time(&self) -> UnixMillis {
        lock(&self.wall).at(self.now(), self.unix())
    }

    /// How far this node's wall clock is ahead of the cluster's, in milliseconds.
    pub(in crate::vault::ha) fn clock_skew_ms(&self) -> i64 {
        lock(&self.wall).skew_ms(self.now(), self.unix())
    }

    /// What a wall clock that shows `time` at this moment would have shown when the steady clock began, in milliseconds:
    /// a measure of it that does not change when this node's own wall clock is set.
    pub(super) fn zero_of(&self, time: UnixMillis) -> i64 {
        let passed = i64::try_from(self.now().since_origin().as_millis()).unwrap_or(i64::MAX);
        i64::try_from(time.0).unwrap_or(i64::MAX).saturating_sub(passed)
    }

    /// How far the median of the clocks is ahead of this node's own, by what the peers told it themselves.
    pub(super) fn median_ahead_ms(&self) -> Option<i64> {
        let own = self.zero_of(self.unix());
        let peers = self.recent_peers(CLOCKS);
        median_ahead_ms(peers.iter().map(|(_, peer)| peer.clock_zero_ms.saturating_sub(own)))
    }

    /// Takes in how far the median of the clocks is ahead of this node's own.
    pub(super) fn hear_clocks(&self, ahead_ms: i64) {
        lock(&self.wall).hear(self.now(), self.unix(), ahead_ms);
    }

    /// The newest head that anything on this node has seen: what a check that is sent now must not fall below.
    pub(in crate::vault::ha) fn highest(&self) -> Option<Head> {
        lock(&self.newest).clone()
    }

    /// Notes a head that was seen, before anybody can act on it.
    pub(super) fn note_head(&self, head: &Head) {
        let mut newest = lock(&self.newest);
        let is_newer = |seen: &Head| seen.cluster == head.cluster && seen.position() < head.position();
        if newest.as_ref().is_none_or(is_newer) {
            *newest = Some(head.clone());
        }
    }

    /// This node's term as the active one, from its claim to its end.
    pub(in crate::vault::ha) fn term(&self) -> Option<Arc<Term>> {
        lock(&self.term).clone()
    }

    /// Hands an event to the election; false if this node has ended.
    pub(in crate::vault::ha) async fn tell(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }

    /// Hands an event to the election from where nothing can wait. If its queue is full the event is dropped: only for
    /// what is repeated or found out anew.
    pub(in crate::vault::ha) fn hint(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("the election is busy: a hint was dropped");
        }
    }

    /// Waits until the feed has reached `seq` here, at most `most`; whether it has.
    pub(in crate::vault::ha) async fn reach(&self, seq: u64, most: Duration) -> bool {
        let mut followed = self.followed.subscribe();
        let reached = followed.wait_for(|head| {
            let is_there = head.as_ref().is_some_and(|head| head.seq >= seq);
            if !is_there {
                self.parts.backend.hurry();
            }
            is_there
        });
        matches!(tokio::time::timeout(most, reached).await, Ok(Ok(_)))
    }

    /// Notes that local state, which has reached `head`, was current at `at`.
    pub(super) fn note_proof(&self, at: Moment, head: Head) {
        let is_reached = self.followed.borrow().as_ref().is_some_and(|local| local.seq >= head.seq);
        let mut proof = lock(&self.proof);
        if is_reached && proof.as_ref().is_none_or(|(before, _)| *before < at) {
            *proof = Some((at, head));
        }
    }

    /// The address of the active node, if another one is.
    pub(in crate::vault::ha) fn leader(&self) -> Option<ActiveRecord> {
        self.status.borrow().leader.clone().filter(|leader| leader.identity != self.parts.settings.identity)
    }

    /// What this node says about itself.
    pub(super) fn report(&self) -> NodeReport {
        let (settings, view) = (&self.parts.settings, lock(&self.view).clone());
        NodeReport {
            identity: settings.identity.clone(),
            api_addr: settings.api_addr.clone(),
            cluster_addr: settings.cluster_addr.clone(),
            version: settings.version.clone(),
            is_able: view.could_take_over,
            is_resting: !view.could_stand,
            is_active: self.is_serving.load(Ordering::Acquire),
            head: self.followed.borrow().clone(),
            format: FORMAT,
            time: self.unix(),
        }
    }

    /// Peers that were heard of within `age`.
    pub(super) fn recent_peers(&self, age: Duration) -> Vec<(PeerAddress, PeerStatus)> {
        let now = self.now();
        let table = lock(&self.table);
        let recent = table.values().filter(|peer| now.since(peer.last_heard) <= age);
        recent
            .map(|peer| {
                let (identity, cluster_addr) = (peer.identity.clone(), peer.cluster_addr.clone());
                (PeerAddress { identity, cluster_addr }, peer.clone())
            })
            .collect()
    }
}
