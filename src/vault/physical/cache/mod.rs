//! [`CachedBackend`]: the newest values of a storage that is reached over the network, kept in memory.
//!
//! One feed of the storage says which keys changed, so nothing is ever shown that is older than what this instance
//! has shown, committed or followed: where the feed lags behind that, the storage is asked itself. The feeds that the
//! cache hands out deliver a record only after the cache has taken it in.

mod feed;
mod pace;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use self::feed::CachedFeed;
use self::pace::Pace;
use self::state::{Hit, State};
use super::backend::{Backend, Commit, Count, Feed, FeedEvent, Limits, Listing, Op, StorageError, Value};
use super::head::Head;
use super::wire;
use crate::base::backoff::Backoff;
use crate::base::random::{Random, SystemRandom};
use crate::base::task::{self, Guarded};

/// Bytes of keys and values that are kept, by default.
pub const CACHE_BYTES: usize = 64 << 20;

/// Delays before a storage that cannot be followed is tried again.
const FIRST_DELAY: Duration = Duration::from_millis(20);
const MOST_DELAY: Duration = Duration::from_secs(1);

/// A storage with a cache above it. Clones are handles to the same one.
#[derive(Clone)]
pub struct CachedBackend {
    shared: Arc<Shared>,
    /// Following ends with the last handle.
    _task: Arc<Guarded<()>>,
}

struct Shared {
    inner: Arc<dyn Backend>,
    state: Mutex<State>,
    /// Wakes feeds when the state has moved.
    moved: watch::Sender<()>,
    /// How often the storage is asked for its journal.
    pace: Pace,
}

impl CachedBackend {
    /// Puts a cache of at most `bytes` (keys and values) above `inner`. Must be called on a Tokio runtime.
    pub fn start(inner: Arc<dyn Backend>, bytes: usize) -> Self {
        let shared = Arc::new(Shared {
            inner,
            state: Mutex::new(State::new(bytes)),
            moved: watch::Sender::new(()),
            pace: Pace::default(),
        });
        let task = Arc::new(task::guard("storage-cache", follow(Arc::clone(&shared))));
        Self { shared, _task: task }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, head: &Head) {
        self.state().note(head.position());
    }

    /// Takes in an event of the storage's feed.
    async fn take_in(&self, event: FeedEvent) {
        match event {
            FeedEvent::Record(record) => self.state().follow(record),
            FeedEvent::Reset { head } => {
                let position = head.as_ref().map(Head::position);
                let is_behind = self.state().start_again(head);
                // The event may have been read before something newer was committed or shown; or the storage went
                // back in time. A quorum check that is sent now tells.
                if is_behind
                    && let Ok(now) = self.inner.check().await
                    && now.as_ref().map(Head::position) <= position
                {
                    self.state().went_back(now.as_ref());
                }
            }
        }
        self.moved.send_replace(());
    }
}

/// Follows the storage until the instance is dropped.
async fn follow(shared: Arc<Shared>) {
    let random: &dyn Random = &SystemRandom;
    let mut backoff = Backoff::new(FIRST_DELAY, MOST_DELAY);
    loop {
        let from = shared.state().at.clone();
        if let Ok(mut feed) = shared.inner.follow(from).await {
            let mut pause = None;
            loop {
                if feed.is_drained() {
                    pause = Some(shared.pace.next(pause.take()).await);
                }
                match feed.next().await {
                    Ok(event) => {
                        backoff.reset();
                        shared.take_in(event).await;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the storage cannot be followed at the moment");
                        tokio::time::sleep(backoff.next_delay(random)).await;
                    }
                }
            }
        }
        tokio::time::sleep(backoff.next_delay(random)).await;
    }
}

#[async_trait]
impl Backend for CachedBackend {
    fn kind(&self) -> &'static str {
        self.shared.inner.kind()
    }

    fn limits(&self) -> Limits {
        self.shared.inner.limits()
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        let outcome = self.shared.inner.commit(expected, next, ops).await;
        match &outcome {
            Commit::Committed => {
                let keys = ops.iter().map(|op| op.key().to_owned()).collect();
                let record = wire::record_of(expected, next, keys);
                self.shared.state().committed(expected, record, ops);
                self.shared.moved.send_replace(());
            }
            Commit::Fenced { current: Some(head) } => self.shared.note(head),
            Commit::Fenced { current: None } | Commit::Unknown { .. } | Commit::Refused(_) => {}
        }
        outcome
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        let resets = {
            let mut state = self.shared.state();
            if let Some(Hit { value, head }) = state.get(key) {
                return Ok(Value { value, head });
            }
            if state.is_behind() {
                // Until it is not, every read goes to the storage.
                self.hurry();
            }
            state.resets
        };
        let read = self.shared.inner.get(key).await?;
        self.shared.state().keep(key, &read, resets);
        Ok(read)
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        let listing = self.shared.inner.list(prefix, after, limit).await?;
        self.shared.note(&listing.head);
        Ok(listing)
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        let head = self.shared.inner.check().await?;
        if let Some(head) = &head {
            self.shared.note(head);
        }
        Ok(head)
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        Ok(Box::new(CachedFeed::new(Arc::clone(&self.shared), from)))
    }

    fn hurry(&self) {
        self.shared.pace.hurry();
        self.shared.inner.hurry();
    }

    fn used_bytes(&self) -> Option<u64> {
        self.shared.inner.used_bytes()
    }

    fn counts(&self) -> Vec<Count> {
        self.shared.inner.counts()
    }
}

#[cfg(test)]
mod tests;
