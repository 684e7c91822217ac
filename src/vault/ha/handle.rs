//! [`Ha`]: the public face of leadership on one node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{broadcast, watch};

use super::candidate::Candidate;
use super::peer::{PeerClient, PeerRequest, PeerResponse};
use super::settings::HaSettings;
use super::status::{HaMetrics, HaStatus, Leader, PeerStatus, Role};
use crate::base::class::ErrorClass;
use crate::base::clock::Clock;
use crate::base::random::Random;
use crate::base::task::Shutdown;
use crate::vault::physical::{Backend, FeedEvent, HaBackend, Head, Ledger, Op, StorageError};

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
    #[error("the storage went back in time and nothing is served until that is acknowledged: {0}")]
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
            Self::RolledBack(_) => ErrorClass::Internal,
            Self::Uninitialised | Self::Sealed | Self::NoLeader(_) => ErrorClass::Unavailable,
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
    count: Arc<AtomicUsize>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Leadership on one node.
pub struct Ha {
    settings: HaSettings,
    status: watch::Receiver<HaStatus>,
    _status: watch::Sender<HaStatus>,
    feed: broadcast::Sender<FeedEvent>,
    in_flight: Arc<AtomicUsize>,
}

impl Ha {
    /// Starts to follow the storage, to watch the lock and to take part in elections, until `shutdown`.
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
        let _ = (backend, lock, peers, clock, random, candidate, shutdown);
        let (sender, status) = watch::channel(HaStatus {
            role: Role::Unknown,
            leader: None,
            head: None,
            storage_away: None,
            reason: "starting".to_owned(),
        });
        let (feed, _) = broadcast::channel(1024);
        Arc::new(Self { settings, status, _status: sender, feed, in_flight: Arc::default() })
    }

    /// The settings that this node was started with.
    pub fn settings(&self) -> &HaSettings {
        &self.settings
    }

    /// This node's view of leadership, and its changes.
    pub fn status(&self) -> watch::Receiver<HaStatus> {
        self.status.clone()
    }

    /// Every event of the journal, in order, as this node follows it; a lagging receiver must treat
    /// [`broadcast::error::RecvError::Lagged`] as [`FeedEvent::Reset`].
    pub fn changes(&self) -> broadcast::Receiver<FeedEvent> {
        self.feed.subscribe()
    }

    /// The ledger of the current role. A request takes it once and keeps it: after a change of roles the old ledger
    /// answers [`crate::vault::physical::SubmitError::NotActive`].
    ///
    /// # Errors
    /// See [`NoLedger`].
    pub fn ledger(&self) -> Result<Arc<dyn Ledger>, NoLedger> {
        Err(NoLedger::NoLeader("starting".to_owned()))
    }

    /// Like [`Self::ledger`], and counts the request as running until the admission is dropped. While the node hands
    /// over this fails with [`NoLedger::NoLeader`]: hold the request.
    ///
    /// # Errors
    /// See [`NoLedger`].
    pub fn admit(&self) -> Result<Admission, NoLedger> {
        let ledger = self.ledger()?;
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Ok(Admission { ledger, count: Arc::clone(&self.in_flight) })
    }

    /// Waits until a leader is known, at most `patience`.
    ///
    /// # Errors
    /// The reason why there is none, when the time is over or at once if waiting cannot help.
    pub async fn wait_for_leader(&self, patience: Duration) -> Result<Leader, NoLedger> {
        let _ = patience;
        Err(NoLedger::NoLeader("starting".to_owned()))
    }

    /// Creates the head of a new cluster together with `ops` (keyring, seal configuration, mount tables), if the store
    /// holds none. The barrier is bound to `cluster`, a UUID made by the caller.
    ///
    /// # Errors
    /// See [`InitError`].
    pub async fn initialise(&self, cluster: &str, ops: Vec<Op>) -> Result<Head, InitError> {
        let _ = (cluster, ops);
        Err(InitError::Unknown("starting".to_owned()))
    }

    /// Gives the leadership up: returns when another node leads. This node does not stand for ten seconds.
    ///
    /// # Errors
    /// See [`StepDownError`].
    pub async fn step_down(&self) -> Result<(), StepDownError> {
        Err(StepDownError::NotActive)
    }

    /// Hands over if this node is active (SIGTERM), at most `patience`; it never stands again in this process.
    pub async fn shutdown_handover(&self, patience: Duration) {
        let _ = patience;
    }

    /// Answers the peer whose certificate names `from`.
    pub async fn answer(&self, from: &str, request: PeerRequest) -> PeerResponse {
        let _ = (from, request);
        PeerResponse::NotActive { leader: None }
    }

    /// Tells that the vault was unsealed here.
    pub fn notify_unsealed(&self) {}

    /// Tells that the vault was sealed here: an active node gives the leadership up.
    pub fn notify_sealed(&self) {}

    /// Goes on after the storage went back in time: a person has decided that what it holds now is the truth.
    pub fn acknowledge_rollback(&self) {}

    /// The other nodes that this one has heard of lately.
    pub fn peers(&self) -> Vec<PeerStatus> {
        Vec::new()
    }

    /// Counters and gauges.
    pub fn metrics(&self) -> HaMetrics {
        HaMetrics::default()
    }
}
