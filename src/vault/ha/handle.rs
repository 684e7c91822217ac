//! [`Ha`]: the public face of leadership on one node.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::candidate::Candidate;
use super::driver::active_ledger::ActiveLedger;
use super::driver::member::{Parts, Running, Shared, lock};
use super::driver::run;
use super::driver::standby_ledger::StandbyLedger;
use super::election::{Cause, Event};
use super::peer::{PeerClient, PeerRequest, PeerResponse};
use super::settings::HaSettings;
use super::status::{HaMetrics, HaStatus, Leader, PeerStatus, Role};
use super::wall_clock::WallClock;
use crate::base::class::ErrorClass;
use crate::base::clock::{Clock, Moment};
use crate::base::random::Random;
use crate::base::task::Shutdown;
use crate::vault::physical::head::FORMAT;
use crate::vault::physical::{
    Backend, BatchId, Commit, FeedEvent, HaBackend, Head, Ledger, LockName, Op, StorageError,
};

/// Events that wait for the election.
const EVENTS: usize = 1024;

/// Events of the journal that a subscriber may lag behind.
const FEED: usize = 4096;

/// Bounds of initialisation: attempts, the wait for each, and the pause between them.
const INIT_ATTEMPTS: u32 = 20;
const INIT_TIMEOUT: Duration = Duration::from_secs(5);
const INIT_PAUSE: Duration = Duration::from_millis(250);

/// Longest wait for a step-down, the taking back included.
const STEP_DOWN: Duration = Duration::from_secs(10);

/// Why there is no ledger at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoLedger {
    /// The storage holds no vault.
    #[error("the vault is not initialised")]
    Uninitialised,
    /// Sealed here.
    #[error("the vault is sealed")]
    Sealed,
    /// The storage went back in time.
    #[error("the storage went back in time and this node serves nothing any more: {0}")]
    RolledBack(String),
    /// The storage does not answer.
    #[error(transparent)]
    Storage(StorageError),
    /// No node leads at the moment, or this one hands over: hold the request ([`Ha::wait_for_leader`]).
    #[error("no node is active at the moment: {0}")]
    NoLeader(String),
}

impl NoLedger {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Storage(error) => error.class(),
            Self::RolledBack(_) | Self::Uninitialised | Self::Sealed | Self::NoLeader(_) => {
                ErrorClass::Unavailable
            }
        }
    }
}

/// Why the leadership was not given up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StepDownError {
    /// This node is not the active one.
    #[error("this node is not the active one")]
    NotActive,
    /// There is no lock, so no other node could take over.
    #[error("high availability is disabled: there is no other node to step down for")]
    Disabled,
    /// It did not end in time, or the node leads again because no other took over.
    #[error("the handover did not succeed: {0}")]
    Failed(String),
}

impl StepDownError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotActive | Self::Failed(_) => ErrorClass::Unavailable,
            Self::Disabled => ErrorClass::Invalid,
        }
    }
}

/// Why the store was not initialised.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InitError {
    /// The store holds a vault already.
    #[error("the storage is initialised already")]
    Already,
    /// The storage refused.
    #[error(transparent)]
    Storage(StorageError),
    /// The outcome stayed unknown: the caller must look again before it tries anew.
    #[error("initialisation may or may not have been carried out: {0}")]
    Unknown(String),
}

impl InitError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Already => ErrorClass::Invalid,
            Self::Storage(error) => error.class(),
            Self::Unknown(_) => ErrorClass::Unknown,
        }
    }
}

/// Permission for one request to run; a handover waits (a bounded time) for all of them to end.
pub struct Admission {
    /// What the request reads and writes through.
    pub ledger: Arc<dyn Ledger>,
    running: Arc<Running>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.running.leave();
    }
}

/// Leadership on one node.
pub struct Ha {
    shared: Arc<Shared>,
}

impl Ha {
    /// Starts to follow the storage, to watch the lock and to take part in elections, until `shutdown`. Without a
    /// lock (or with [`HaSettings::lock_disabled`]) no other node may use the storage.
    #[expect(clippy::too_many_arguments, reason = "every part is a boundary that tests replace")]
    pub fn start(
        settings: HaSettings,
        backend: Arc<dyn Backend>,
        lock: Option<Arc<dyn HaBackend>>,
        peers: Arc<dyn PeerClient>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        candidate: Arc<dyn Candidate>,
        shutdown: Shutdown,
    ) -> Arc<Self> {
        let lock = lock.filter(|_| !settings.lock_disabled);
        let (events, receiver) = mpsc::channel(EVENTS);
        let status = HaStatus {
            role: Role::Unknown,
            leader: None,
            head: None,
            storage_away: None,
            reason: "starting".to_owned(),
        };
        let wall = Mutex::new(WallClock::starting_at(clock.unix(), clock.now()));
        let shared = Arc::new(Shared {
            wall,
            parts: Parts { settings, backend, lock, peers, clock, random, candidate, shutdown },
            events,
            status: watch::Sender::new(status),
            feed: broadcast::Sender::new(FEED),
            followed: watch::Sender::new(None),
            proof: Mutex::default(),
            term: Mutex::default(),
            newest: Mutex::default(),
            view: Mutex::default(),
            table: Mutex::default(),
            running: Arc::default(),
            is_holding: AtomicBool::new(false),
            is_serving: AtomicBool::new(false),
            handover_waiters: Mutex::default(),
            checks: AtomicU64::new(0),
            outage: Mutex::default(),
            index: Arc::default(),
            past: Mutex::default(),
        });
        run::start(&shared, receiver);
        Arc::new(Self { shared })
    }

    /// The settings that this node was started with.
    pub fn settings(&self) -> &HaSettings {
        &self.shared.parts.settings
    }

    /// This node's view of leadership, and its changes. (A new head alone is no change.)
    pub fn status(&self) -> watch::Receiver<HaStatus> {
        self.shared.status.subscribe()
    }

    /// Every event of the journal, in order, as this node follows it; a lagging receiver must treat
    /// [`broadcast::error::RecvError::Lagged`] as [`FeedEvent::Reset`].
    pub fn changes(&self) -> broadcast::Receiver<FeedEvent> {
        self.shared.feed.subscribe()
    }

    /// The ledger of the current role. A request takes it once and keeps it: after a change of roles the old ledger
    /// answers [`crate::vault::physical::SubmitError::NotActive`].
    ///
    /// # Errors
    /// See [`NoLedger`].
    pub fn ledger(&self) -> Result<Arc<dyn Ledger>, NoLedger> {
        let status = self.shared.status.borrow().clone();
        match status.role {
            Role::RolledBack { reason } => Err(NoLedger::RolledBack(reason)),
            Role::Uninitialised => Err(NoLedger::Uninitialised),
            Role::Unknown => Err(self.nobody(status.reason)),
            _ if !self.shared.parts.candidate.is_unsealed() => Err(NoLedger::Sealed),
            // Just unsealed: the election hears of it in a moment, and whoever unsealed it may ask already.
            Role::Sealed => Err(self.nobody(String::new())),
            Role::Active { .. } | Role::HandingOver => match self.shared.term() {
                Some(term) => Ok(Arc::new(ActiveLedger(term))),
                None => Err(self.nobody(status.reason)),
            },
            Role::Standby | Role::Preparing => Ok(Arc::new(StandbyLedger(Arc::clone(&self.shared)))),
        }
    }

    /// A ledger that reads local state whatever this node's role is, for what must be read while sealed (seal
    /// configuration, keyring). Its `begin` and `confirm` need a leader; `get` and `list` do not.
    pub fn reader(&self) -> Arc<dyn Ledger> {
        Arc::new(StandbyLedger(Arc::clone(&self.shared)))
    }

    fn nobody(&self, reason: String) -> NoLedger {
        let waits = || "the lock of the last one has not run out yet".to_owned();
        let reason = if reason.is_empty() { waits() } else { reason };
        self.shared.away().map_or(NoLedger::NoLeader(reason), NoLedger::Storage)
    }

    /// Like [`Self::ledger`], and counts the request as running until the admission is dropped. While the node hands
    /// over this fails with [`NoLedger::NoLeader`]: hold the request.
    ///
    /// # Errors
    /// See [`NoLedger`].
    pub fn admit(&self) -> Result<Admission, NoLedger> {
        // Counted before the look: a handover that begins in between waits for it.
        let running = Arc::clone(&self.shared.running);
        running.enter();
        let ledger = if self.shared.is_holding.load(Ordering::Acquire) {
            Err(NoLedger::NoLeader("this node hands over".to_owned()))
        } else {
            self.ledger()
        };
        match ledger {
            Ok(ledger) => Ok(Admission { ledger, running }),
            Err(error) => {
                running.leave();
                Err(error)
            }
        }
    }

    /// Waits until a leader is known, at most `patience`.
    ///
    /// # Errors
    /// The reason why there is none, when the time is over or at once if waiting cannot help.
    pub async fn wait_for_leader(&self, patience: Duration) -> Result<Leader, NoLedger> {
        let mut status = self.shared.status.subscribe();
        let found = status.wait_for(|status| match &status.role {
            Role::Active { .. } | Role::RolledBack { .. } | Role::Uninitialised => true,
            _ => status.leader.is_some(),
        });
        let found = match tokio::time::timeout(patience, found).await {
            Ok(Ok(status)) => status.clone(),
            _ => return Err(self.nobody(self.shared.status.borrow().reason.clone())),
        };
        match (found.role, found.leader) {
            (Role::Active { .. }, _) => Ok(Leader::Here),
            (Role::RolledBack { reason }, _) => Err(NoLedger::RolledBack(reason)),
            (_, Some(leader)) => Ok(Leader::There(leader)),
            (_, None) => Err(NoLedger::Uninitialised),
        }
    }

    /// Creates the head of a new cluster together with `ops` (keyring, seal configuration, mount tables), if the store
    /// holds none. The barrier is bound to `cluster`, a UUID made by the caller.
    ///
    /// # Errors
    /// See [`InitError`].
    pub async fn initialise(&self, cluster: &str, ops: Vec<Op>) -> Result<Head, InitError> {
        let parts = &self.shared.parts;
        let head = Head {
            cluster: cluster.into(),
            lock: Arc::new(parts.lock.as_ref().map_or_else(LockName::none, |lock| lock.name())),
            epoch: 0,
            seq: 1,
            batch_id: BatchId::new(&*parts.random),
            node: parts.settings.identity.as_str().into(),
            format: FORMAT,
            time: self.shared.unix(),
        };
        let mut reason = String::new();
        for attempt in 0..INIT_ATTEMPTS {
            let commit = tokio::time::timeout(INIT_TIMEOUT, parts.backend.commit(None, &head, &ops)).await;
            match commit {
                Ok(Commit::Committed) => return Ok(self.initialised(head).await),
                // The cluster's UUID was made for this call: whoever leads it by now, this call has made it.
                Ok(Commit::Fenced { current: Some(current) }) if current.cluster == head.cluster => {
                    return Ok(self.initialised(current).await);
                }
                Ok(Commit::Fenced { current: Some(_) }) => return Err(InitError::Already),
                Ok(Commit::Refused(error)) if attempt == 0 => return Err(InitError::Storage(error)),
                Ok(Commit::Refused(error)) => reason = error.to_string(),
                Ok(Commit::Unknown { reason: why }) => reason = why,
                Ok(Commit::Fenced { current: None }) => {
                    "the storage contradicts itself".clone_into(&mut reason)
                }
                Err(_) => reason = self.shared.silence(INIT_TIMEOUT).to_string(),
            }
            tokio::time::sleep(INIT_PAUSE).await;
        }
        Err(InitError::Unknown(reason))
    }

    async fn initialised(&self, head: Head) -> Head {
        self.shared.tell(Event::Saw(head.clone())).await;
        head
    }

    /// Gives the leadership up: returns when another node leads. This node does not stand for ten seconds,
    /// unless the next one hands over to it because no other can take over.
    ///
    /// # Errors
    /// See [`StepDownError`].
    pub async fn step_down(&self) -> Result<(), StepDownError> {
        if self.shared.parts.lock.is_none() {
            return Err(StepDownError::Disabled);
        }
        if !self.shared.status.borrow().role.is_active() {
            return Err(StepDownError::NotActive);
        }
        self.hand_over(Cause::StepDown, STEP_DOWN).await.map_err(StepDownError::Failed)
    }

    /// Hands over if this node is active (SIGTERM), at most `patience`; it never stands again in this process.
    pub async fn shutdown_handover(&self, patience: Duration) {
        if let Err(reason) = self.hand_over(Cause::Shutdown, patience).await {
            tracing::info!(reason, "ends without a handover");
        }
    }

    async fn hand_over(&self, cause: Cause, patience: Duration) -> Result<(), String> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.shared.handover_waiters).push(sender);
        self.shared.tell(Event::HandOver { cause }).await;
        match tokio::time::timeout(patience, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("this node has ended".to_owned()),
            Err(_) => Err("it took too long".to_owned()),
        }
    }

    /// Answers the peer whose certificate names `from`.
    pub async fn answer(&self, from: &str, request: PeerRequest) -> PeerResponse {
        self.shared.answer(from, request).await
    }

    /// Tells that the vault was unsealed here.
    pub fn notify_unsealed(&self) {
        self.shared.hint(Event::Able(true));
    }

    /// Tells that the vault was sealed here: an active node gives the leadership up.
    pub fn notify_sealed(&self) {
        self.shared.hint(Event::Able(false));
    }

    /// The other nodes that this one has heard of lately.
    pub fn peers(&self) -> Vec<PeerStatus> {
        lock(&self.shared.table).values().cloned().collect()
    }

    /// When this node last heard of another one.
    pub fn heard(&self, identity: &str) -> Option<Moment> {
        lock(&self.shared.table).get(identity).map(|peer| peer.last_heard)
    }

    /// How far this node's wall clock is ahead of the cluster's (negative: behind), in milliseconds: of the median of three
    /// or more nodes, or else of what it would show without its own jumps. A node whose clock is more than
    /// [`super::committer::JUMP`] off does not become active.
    pub fn clock_skew_ms(&self) -> i64 {
        self.shared.clock_skew_ms()
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> HaMetrics {
        let past = *lock(&self.shared.past);
        let (current, queued, queued_bytes) =
            self.shared.term().map(|term| term.figures()).unwrap_or_default();
        let view = lock(&self.shared.view).clone();
        HaMetrics {
            epoch: view.highest.as_ref().map_or(0, |head| head.epoch),
            seq: view.highest.as_ref().map_or(0, |head| head.seq),
            elections: view.elections,
            promotions: view.promotions,
            commits: past.commits + current.commits,
            transactions: past.transactions + current.transactions,
            largest_batch: past.largest_batch.max(current.largest_batch),
            fenced: past.fenced + current.fenced,
            unknown: past.unknown + current.unknown,
            conflicts: past.conflicts + current.conflicts,
            checks: self.shared.checks.load(Ordering::Relaxed),
            queued: queued as u64,
            queued_bytes: queued_bytes as u64,
            in_flight: self.shared.running.count(),
        }
    }
}
