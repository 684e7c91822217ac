//! [`Term`]: one epoch of this node as the active one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};

use super::member::{Shared, lock};
use super::storage::READ_TIMEOUT;
use crate::base::clock::Moment;
use crate::vault::ha::committer::{Committer, CommitterSettings, Counters, Done, Settled, Stopped, TxnId};
use crate::vault::ha::election::Event;
use crate::vault::ha::readlease::{CheckNumber, ReadLease};
use crate::vault::physical::{Head, Journal, ReadPass, Stamp, StorageError, SubmitError, Transaction};

/// Longest wait of a request for commits that it depends on.
const SETTLE: Duration = Duration::from_secs(10);

type Waiter = oneshot::Sender<Result<Head, SubmitError>>;

/// The changing part of a term.
pub(super) struct State {
    pub(super) committer: Committer,
    pub(super) lease: ReadLease,
    waiters: HashMap<TxnId, Waiter>,
    next_id: TxnId,
    /// The newest check that a reader waits for.
    pub(super) wanted: Option<CheckNumber>,
    /// Checks whose failure those who wait are told of, and the newest of them.
    pub(super) failures: (u64, Option<StorageError>),
    /// Another epoch was seen, or this one was ended.
    pub(super) is_over: bool,
}

/// One epoch of this node as the active one.
pub(in crate::vault::ha) struct Term {
    pub(super) shared: Arc<Shared>,
    pub(super) claim: Head,
    pub(super) state: Mutex<State>,
    /// Grows with every change that somebody may wait for.
    changed: watch::Sender<u64>,
    /// Wakes the commit loop.
    pub(super) work: Notify,
    /// Wakes the check loop.
    pub(super) ask: Notify,
}

impl Term {
    /// Begins the term that `claim` has made; the caller runs its loops.
    pub(super) fn new(shared: Arc<Shared>, claim: Head) -> Self {
        let limits = shared.parts.backend.limits();
        let committer = Committer::new(CommitterSettings::default(), limits, claim.clone(), shared.now());
        let lease = ReadLease::new(shared.parts.settings.read_lease());
        let state = State {
            committer,
            lease,
            waiters: HashMap::new(),
            next_id: 0,
            wanted: None,
            failures: (0, None),
            is_over: false,
        };
        let (changed, _) = watch::channel(0);
        Self { shared, claim, state: Mutex::new(state), changed, work: Notify::new(), ask: Notify::new() }
    }

    pub(in crate::vault::ha) fn epoch(&self) -> u64 {
        self.claim.epoch
    }

    /// The newest acknowledged head.
    pub(in crate::vault::ha) fn acknowledged(&self) -> Head {
        lock(&self.state).committer.acknowledged().clone()
    }

    /// Counters, and what waits: transactions and bytes.
    pub(in crate::vault::ha) fn figures(&self) -> (Counters, usize, usize) {
        let state = lock(&self.state);
        (state.committer.counters(), state.committer.queue_len(), state.committer.queue_bytes())
    }

    pub(super) fn bump(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Tells those who wait for the transactions in `done`.
    pub(super) fn complete(&self, state: &mut State, done: Vec<Done>) {
        for Done { id, result } in done {
            if let Some(waiter) = state.waiters.remove(&id) {
                // Who does not wait any more does not want to know.
                let _ = waiter.send(result);
            }
        }
        self.bump();
    }

    /// A journal record arrived.
    pub(super) fn on_journal(&self, record: &Journal) {
        let mut state = lock(&self.state);
        let done = state.committer.on_journal(record);
        if record.head.epoch > self.epoch() {
            state.is_over = true;
        }
        self.complete(&mut state, done);
        drop(state);
        self.work.notify_one();
    }

    /// Notes a head that a read returned; another epoch ends this term.
    pub(super) fn saw(&self, head: &Head) {
        if head.epoch > self.epoch() {
            self.end_reads();
            self.shared.hint(Event::Saw(head.clone()));
        }
    }

    /// Answers no more reads in this epoch, for good.
    pub(super) fn end_reads(&self) {
        let mut state = lock(&self.state);
        state.lease.renounce();
        drop(state);
        self.bump();
    }

    /// Ends the term: nothing is taken or answered any more; what is in flight is resolved by the journal.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.lease.renounce();
        state.is_over = true;
        let done = state.committer.stop(Stopped::Deposed);
        self.complete(&mut state, done);
        drop(state);
        self.work.notify_one();
        self.ask.notify_one();
    }

    pub(super) fn suspend(&self, is_suspended: bool) {
        lock(&self.state).committer.suspend(is_suspended);
        self.work.notify_one();
    }

    /// Takes no new transactions, and waits until the last has ended.
    pub(super) async fn close(&self) {
        let done = lock(&self.state).committer.stop(Stopped::HandingOver);
        debug_assert!(done.is_empty(), "a handover finishes what waits");
        self.work.notify_one();
        self.wait(|state| (state.committer.queue_len() == 0).then_some(())).await;
    }

    pub(super) fn reopen(&self) {
        lock(&self.state).committer.resume();
        self.work.notify_one();
    }

    /// Waits until `look` finds what it looks for.
    async fn wait<T>(&self, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(found) = look(&mut lock(&self.state)) {
                return found;
            }
            if changed.changed().await.is_err() {
                // The sender lives as long as this term.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Puts a transaction into the queue and waits for its end.
    pub(super) async fn submit(&self, transaction: Transaction) -> Result<Head, SubmitError> {
        let receiver = {
            let mut state = lock(&self.state);
            if state.is_over {
                return Err(SubmitError::NotActive);
            }
            state.next_id += 1;
            let id = state.next_id;
            state.committer.submit(id, transaction).map_err(|error| self.name_storage(error))?;
            let (sender, receiver) = oneshot::channel();
            state.waiters.insert(id, sender);
            receiver
        };
        self.work.notify_one();
        receiver.await.unwrap_or_else(|_| {
            Err(SubmitError::Unknown { reason: "this process stopped waiting for the storage".to_owned() })
        })
    }

    /// The committer knows limits, not whose they are.
    fn name_storage(&self, error: SubmitError) -> SubmitError {
        match error {
            SubmitError::Storage(StorageError::TooLarge { what, bytes, limit_bytes, .. }) => {
                SubmitError::Storage(StorageError::TooLarge {
                    storage: self.shared.storage(),
                    what,
                    bytes,
                    limit_bytes,
                })
            }
            other => other,
        }
    }

    /// Waits until everything that a reader saw is committed.
    pub(super) async fn settle(&self, pass: &ReadPass, newest: Stamp) -> Result<(), SubmitError> {
        let settled = self.wait(|state| match state.committer.settled(pass.begun, newest) {
            _ if state.is_over => Some(Err(SubmitError::NotActive)),
            Settled::Committed => Some(Ok(())),
            Settled::Failed => Some(Err(SubmitError::NotApplied)),
            Settled::Pending => {
                state.committer.stalled().map(|error| Err(SubmitError::Storage(error.clone())))
            }
        });
        tokio::time::timeout(SETTLE, settled)
            .await
            .unwrap_or_else(|_| Err(SubmitError::Storage(self.shared.silence(SETTLE))))
    }

    /// Waits until the head numbered `seq` is acknowledged.
    pub(super) async fn acknowledge(&self, seq: u64) -> Result<(), SubmitError> {
        let reached = self.wait(|state| {
            if state.is_over {
                return Some(Err(SubmitError::NotActive));
            }
            (state.committer.acknowledged().seq >= seq).then_some(Ok(()))
        });
        tokio::time::timeout(READ_TIMEOUT, reached)
            .await
            .unwrap_or_else(|_| Err(SubmitError::Storage(self.shared.silence(READ_TIMEOUT))))
    }

    /// Proves that this node leads *now*: by the read lease, or by a check that is sent after this call.
    pub(in crate::vault::ha) async fn prove(&self) -> Result<(), SubmitError> {
        let mut asked: Option<(CheckNumber, u64)> = None;
        self.wait(|state| {
            if state.is_over || state.lease.is_renounced() {
                return Some(Err(SubmitError::NotActive));
            }
            if state.lease.is_valid(self.shared.now()) {
                return Some(Ok(()));
            }
            let failures = state.failures.0;
            let (number, failures_before) = *asked.get_or_insert_with(|| {
                let number = state.lease.check_needed();
                state.wanted = state.wanted.max(Some(number));
                self.ask.notify_one();
                (number, failures)
            });
            if state.lease.is_confirmed(number) {
                return Some(Ok(()));
            }
            // To fail early is always safe: also by a check that was under way before.
            let (failures, error) = &state.failures;
            let error = error.as_ref().filter(|_| *failures > failures_before)?;
            Some(Err(SubmitError::Storage(error.clone())))
        })
        .await
    }

    /// When leadership was last proven, by the sending of what proved it.
    pub(super) fn proven_at(&self) -> Option<Moment> {
        lock(&self.state).lease.proven_at()
    }
}
