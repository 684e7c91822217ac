//! One term of leadership: what the active node runs between its claim and its end.
//!
//! A term owns the [`Committer`] and the [`ReadLease`] of one epoch and carries out what they ask for: a loop that
//! commits, a loop that checks, and the [`Ledger`] that requests run on. It decides nothing about leadership: what it
//! sees of other heads goes to the election as [`TermEvent`]s.

mod checks;
mod commits;
mod ledger;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::committer::{Committer, CommitterSettings, Counters, Done, Stopped, TxnId};
use super::readlease::{CheckNumber, ReadLease};
use crate::base::clock::{Clock, Moment};
use crate::base::random::Random;
use crate::base::task::{self, Guarded};
use crate::vault::physical::{Backend, Head, Journal, Ledger, StorageError, SubmitError};

/// How long a request waits for a storage that does not answer before it is told so.
pub const PATIENCE: Duration = Duration::from_millis(900);

/// Pause between probes of a storage that does not answer.
const PROBE: Duration = Duration::from_millis(250);

/// How long a deposed node waits for the journal to tell what became of its last batch.
const PROOF: Duration = Duration::from_secs(2);

/// What a term needs.
pub struct TermParts {
    /// The storage.
    pub backend: Arc<dyn Backend>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for batch names and back-off.
    pub random: Arc<dyn Random>,
    /// This node's claim.
    pub claim: Head,
    /// The read lease's window; zero proves every read anew.
    pub read_window: Duration,
    /// Bounds of the queue.
    pub committer: CommitterSettings,
}

/// What a term saw that concerns leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TermEvent {
    /// A fenced commit or a check showed another head than this term's; `None` if the storage holds none.
    SawHead(Option<Head>),
    /// The storage has not answered for a while.
    StorageAway(StorageError),
    /// It answers again.
    StorageBack,
}

/// The storage as the term sees it.
#[derive(Debug, Default)]
struct Health {
    /// Since when nothing has succeeded, and the last failure.
    failing: Option<(Moment, StorageError)>,
    /// Whether [`TermEvent::StorageAway`] was said.
    is_told: bool,
}

struct State {
    committer: Committer,
    lease: ReadLease,
    waiters: HashMap<TxnId, oneshot::Sender<Result<Head, SubmitError>>>,
    next_id: TxnId,
    health: Health,
    /// The newest check that somebody waits for.
    wanted: Option<CheckNumber>,
    /// When leadership was last proven, and the acknowledged head then.
    proven: (Moment, Head),
    checks: u64,
}

struct Shared {
    parts: TermParts,
    state: Mutex<State>,
    /// Bumped whenever something changes that a waiter may wait for.
    progress: watch::Sender<u64>,
    commit_wake: Notify,
    check_wake: Notify,
    events: mpsc::UnboundedSender<TermEvent>,
}

/// A term of leadership. Its loops end when it is dropped.
pub struct ActiveTerm {
    shared: Arc<Shared>,
    _loops: [Guarded<()>; 2],
}

impl ActiveTerm {
    /// Starts the term of `parts.claim`, after the wait that a claim demands. The receiver gets what the term sees.
    pub fn start(parts: TermParts) -> (Arc<Self>, mpsc::UnboundedReceiver<TermEvent>) {
        let now = parts.clock.now();
        let committer = Committer::new(parts.committer, parts.backend.limits(), parts.claim.clone(), now);
        let lease = ReadLease::new(parts.read_window);
        let state = State {
            committer,
            lease,
            waiters: HashMap::new(),
            next_id: 0,
            health: Health::default(),
            wanted: None,
            proven: (now, parts.claim.clone()),
            checks: 0,
        };
        let (events, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            parts,
            state: Mutex::new(state),
            progress: watch::Sender::new(0),
            commit_wake: Notify::new(),
            check_wake: Notify::new(),
            events,
        });
        let loops = [
            task::guard("commits", commits::run(Arc::clone(&shared))),
            task::guard("checks", checks::run(Arc::clone(&shared))),
        ];
        (Arc::new(Self { shared, _loops: loops }), receiver)
    }

    /// The ledger that requests run on.
    pub fn ledger(self: &Arc<Self>) -> Arc<dyn Ledger> {
        Arc::new(ledger::ActiveLedger::new(Arc::clone(self)))
    }

    /// The newest acknowledged head.
    pub fn acknowledged(&self) -> Head {
        self.shared.lock().committer.acknowledged().clone()
    }

    /// When leadership was last proven, and the head that was acknowledged then.
    pub fn last_proof(&self) -> (Moment, Head) {
        self.shared.lock().proven.clone()
    }

    /// Takes a record of the journal.
    pub fn on_journal(&self, record: &Journal) {
        let done = self.shared.lock().committer.on_journal(record);
        self.shared.finish(done);
    }

    /// The feed has a gap, or the storage went back: what is in flight cannot be proven any more.
    pub fn on_gap(&self, reason: &str) {
        let done = self.shared.lock().committer.give_up(reason);
        self.shared.finish(done);
    }

    /// Accepts nothing any more.
    pub fn stop(&self, why: Stopped) {
        let done = self.shared.lock().committer.stop(why);
        self.shared.finish(done);
    }

    /// Goes on after a handover that did not happen. The read lease stays renounced: the election claims again.
    pub fn resume(&self) {
        self.shared.lock().committer.resume();
        self.shared.commit_wake.notify_one();
    }

    /// Starts no batch while another holder is seen in the lock.
    pub fn suspend(&self, suspended: bool) {
        self.shared.lock().committer.suspend(suspended);
        self.shared.commit_wake.notify_one();
    }

    /// Gives up this epoch's reads for good; called before the renunciation is sent.
    pub fn renounce(&self) {
        self.shared.lock().lease.renounce();
        self.shared.bump();
    }

    /// Waits until nothing is queued or in flight, at most `patience`; whether that was reached.
    pub async fn drained(&self, patience: Duration) -> bool {
        self.shared.until(patience, |state| (state.committer.queue_len() == 0).then_some(())).await.is_some()
    }

    /// The acknowledged head, at least at `min_seq`, with leadership proven after it was noted: the answer to a
    /// standby's read index or confirmation.
    ///
    /// # Errors
    /// [`SubmitError::NotActive`] if this node leads no more; a storage error that names the storage if it does not
    /// answer within [`PATIENCE`].
    pub async fn prove(&self, min_seq: Option<u64>) -> Result<Head, SubmitError> {
        self.shared.prove(min_seq).await
    }

    /// Counters of commits, and the number of checks sent.
    pub fn counters(&self) -> (Counters, u64) {
        let state = self.shared.lock();
        (state.committer.counters(), state.checks)
    }

    /// Transactions and bytes that wait.
    pub fn queue(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.committer.queue_len(), state.committer.queue_bytes())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        self.parts.clock.now()
    }

    fn bump(&self) {
        self.progress.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Tells those who wait what became of their transactions.
    fn finish(&self, done: Vec<Done>) {
        {
            let mut state = self.lock();
            for Done { id, result } in done {
                if let Some(waiter) = state.waiters.remove(&id) {
                    // Nobody listens if the client went away.
                    waiter.send(result).ok();
                }
            }
        }
        self.bump();
        self.commit_wake.notify_one();
    }

    /// Waits until `check` gives a value, at most `patience`.
    async fn until<T>(
        &self,
        patience: Duration,
        mut check: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut progress = self.progress.subscribe();
        let wait = async {
            loop {
                progress.borrow_and_update();
                if let Some(value) = check(&mut self.lock()) {
                    return Some(value);
                }
                if progress.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(patience, wait).await.ok().flatten()
    }

    async fn prove(&self, min_seq: Option<u64>) -> Result<Head, SubmitError> {
        let noted = self
            .until(PATIENCE, |state| {
                if state.is_over() {
                    return Some(Err(SubmitError::NotActive));
                }
                let head = state.committer.acknowledged();
                (min_seq.is_none_or(|seq| head.seq >= seq)).then(|| Ok(head.clone()))
            })
            .await;
        let head = noted.unwrap_or_else(|| Err(self.away("a commit is not confirmed")))?;
        self.leading().await?;
        Ok(head)
    }

    /// Proves leadership from now on: by the read lease, or by a check sent after this call.
    async fn leading(&self) -> Result<(), SubmitError> {
        let (needed, renounced) = {
            let mut state = self.lock();
            if state.lease.is_valid(self.now()) && !state.is_over() {
                return Ok(());
            }
            let needed = state.lease.check_needed();
            state.wanted = state.wanted.max(Some(needed));
            (needed, state.lease.is_renounced())
        };
        if renounced {
            return Err(SubmitError::NotActive);
        }
        self.check_wake.notify_one();
        self.until(PATIENCE, |state| {
            if state.is_over() || state.lease.is_renounced() {
                return Some(Err(SubmitError::NotActive));
            }
            state.lease.is_confirmed(needed).then_some(Ok(()))
        })
        .await
        .unwrap_or_else(|| Err(self.away("no answer to a quorum check")))
    }

    /// The storage does not answer: its last failure, or `reason` if it has none to show.
    fn away(&self, reason: &str) -> SubmitError {
        let state = self.lock();
        SubmitError::Storage(match &state.health.failing {
            Some((_, error)) => error.clone(),
            None => self.unavailable(reason),
        })
    }

    fn unavailable(&self, reason: &str) -> StorageError {
        StorageError::Unavailable { storage: self.parts.backend.kind(), reason: reason.to_owned() }
    }

    /// Notes that the storage failed to answer, and says so once that has lasted.
    fn failed(&self, error: StorageError) {
        let now = self.now();
        let mut state = self.lock();
        let since = state.health.failing.as_ref().map_or(now, |(since, _)| *since);
        state.health.failing = Some((since, error.clone()));
        if now.since(since) >= PATIENCE && !state.health.is_told {
            state.health.is_told = true;
            self.events.send(TermEvent::StorageAway(error)).ok();
        }
        drop(state);
        self.bump();
        // From now on the check loop probes until the storage answers.
        self.check_wake.notify_one();
    }

    /// Notes that the storage answered.
    fn answered(&self) {
        let mut state = self.lock();
        state.health.failing = None;
        if std::mem::take(&mut state.health.is_told) {
            self.events.send(TermEvent::StorageBack).ok();
        }
    }
}

impl State {
    /// Whether this term has ended for good.
    fn is_over(&self) -> bool {
        self.committer.stopped() == Some(Stopped::Deposed)
    }

    /// The storage's failure, if it has lasted so long that waiting is no use.
    fn long_away(&self, now: Moment) -> Option<StorageError> {
        let (since, error) = self.health.failing.as_ref()?;
        (now.since(*since) >= PATIENCE).then(|| error.clone())
    }
}
