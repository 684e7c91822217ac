//! [`KubernetesBackend`]: the storage behind the public trait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use super::budget::Budget;
use super::client::{KIND, Objects, head_of};
use super::config::Settings;
use super::counters::{Counters, Counting};
use super::feed::KubernetesFeed;
use super::state::State;
use super::{commit, garbage, segments, sync};
use crate::base::clock::Clock;
use crate::base::random::Random;
use crate::base::task::{self, Guarded};
use crate::k8s::client::Clients;
use crate::vault::physical::backend::{
    Backend, Commit, Count, Feed, Limits, Listing, Op, StorageError, Value,
};
use crate::vault::physical::head::Head;
use crate::vault::physical::inmem::page;

/// Most bytes of a commit, so that it fits one segment together with what is inline.
const COMMIT_BYTES: usize = 512 << 10;
/// Most operations of a commit.
const OPERATIONS: usize = 2048;

/// Storage in one head object and its segments. Clones are handles to the same memory.
#[derive(Clone)]
pub struct KubernetesBackend {
    pub(super) shared: Arc<Shared>,
    /// Following, writing of segments and garbage collection; they end with the last handle.
    _tasks: Arc<[Guarded<()>]>,
}

/// What the handles, the feeds and the tasks of one instance share.
pub(super) struct Shared {
    pub(super) objects: Objects,
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) counting: Counting,
    state: Mutex<State>,
    budget: Mutex<Budget>,
    /// Who waits for the budget, in order.
    pub(super) paying: tokio::sync::Mutex<()>,
    /// One write of the head at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// One load of everything at a time.
    pub(super) loading: tokio::sync::Mutex<()>,
    /// One writing of logs at a time.
    pub(super) rolling: tokio::sync::Mutex<()>,
    /// Wakes feeds when the state has moved.
    pub(super) moved: watch::Sender<()>,
    /// Wakes the following task: somebody saw a head that the memory has not reached.
    pub(super) behind: Notify,
    /// Wakes the task that writes segments.
    pub(super) grown: Notify,
}

impl KubernetesBackend {
    /// Begins to follow the store that `settings` name. Nothing needs to exist yet.
    ///
    /// Must be called on a Tokio runtime.
    pub fn start(
        clients: &Clients,
        settings: Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let budget =
            Budget::new(settings.budget_bytes_per_second, settings.budget_window_seconds, clock.now());
        let shared = Arc::new(Shared {
            objects: Objects::new(clients, &settings),
            settings,
            clock,
            random,
            counting: Counting::default(),
            state: Mutex::default(),
            budget: Mutex::new(budget),
            paying: tokio::sync::Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            rolling: tokio::sync::Mutex::default(),
            moved: watch::Sender::new(()),
            behind: Notify::new(),
            grown: Notify::new(),
        });
        let tasks = Arc::new([
            task::guard("storage-follow", sync::run(Arc::clone(&shared))),
            task::guard("storage-roll", segments::run_rolls(Arc::clone(&shared))),
            task::guard("storage-merge", segments::run_merges(Arc::clone(&shared))),
            task::guard("storage-garbage", garbage::run(Arc::clone(&shared))),
        ]);
        Self { shared, _tasks: tasks }
    }

    /// What this instance did so far.
    pub fn counters(&self) -> Counters {
        self.shared.counting.read()
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that memory has reached every head that this instance reported.
    async fn reach_noted(&self) -> Result<(), StorageError> {
        for _ in 0..3 {
            {
                let state = self.state();
                if state.is_loaded && state.position() >= state.noted {
                    return Ok(());
                }
            }
            sync::refresh(self).await?;
        }
        Err(super::client::unavailable("the store moves faster than this node can follow".to_owned()))
    }
}

#[async_trait]
impl Backend for KubernetesBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        Limits {
            operations: OPERATIONS,
            commit_bytes: COMMIT_BYTES,
            value_bytes: COMMIT_BYTES - crate::vault::physical::KEY_BYTES,
            data_bytes: Some(self.shared.settings.data_limit_bytes),
        }
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        if let Err(error) = self.limits().admit(KIND, ops) {
            return Commit::Refused(error);
        }
        commit::commit(&self.shared, expected, next, ops).await
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        self.shared.reach_noted().await?;
        let mut state = self.shared.state();
        let head = state.head.clone().ok_or(StorageError::Empty { storage: KIND })?;
        state.note(head.position());
        Ok(Value { value: state.data.get(key).cloned(), head })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        self.shared.reach_noted().await?;
        let mut state = self.shared.state();
        let head = state.head.clone().ok_or(StorageError::Empty { storage: KIND })?;
        state.note(head.position());
        let (keys, more) = page(&state.data, prefix, after, limit);
        Ok(Listing { keys, more, head })
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        let Some(meta) = self.shared.objects.head_meta().await? else {
            self.shared.behind.notify_one();
            return Ok(None);
        };
        let head = head_of(&meta)?;
        let mut state = self.shared.state();
        if head != state.head {
            self.shared.behind.notify_one();
        }
        if let Some(head) = &head {
            state.note(head.position());
        }
        Ok(head)
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        if let Some(from) = &from {
            self.shared.state().note(from.position());
        }
        self.shared.reach_noted().await?;
        Ok(Box::new(KubernetesFeed::new(self.clone(), from)))
    }

    fn used_bytes(&self) -> Option<u64> {
        let state = self.shared.state();
        state.is_loaded.then_some(state.used_bytes)
    }
    fn counts(&self) -> Vec<Count> {
        self.counters().counts()
    }
}
