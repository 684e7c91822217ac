//! A ledger over one store in memory, for tests of what runs on a ledger.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::base::clock::{Clock, ManualClock, UnixMillis};
use crate::base::random::SystemRandom;
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::physical::{
    Backend, BatchId, Commit, Confirmed, Consistency, Head, Keys, Ledger, Limits, Op, ReadPass, Reading,
    Stamp, StorageError, SubmitError, Transaction,
};

/// A ledger that commits every transaction by itself. It validates read sets as the real one does.
pub(crate) struct TestLedger {
    backend: InmemBackend,
    clock: Arc<ManualClock>,
    writable: AtomicBool,
    failed: AtomicU64,
    state: tokio::sync::Mutex<Changes>,
    failures: Mutex<VecDeque<Option<SubmitError>>>,
}

#[derive(Default)]
struct Changes {
    count: u64,
    changed: BTreeMap<String, u64>,
}

impl TestLedger {
    pub(crate) fn new(backend: InmemBackend, clock: Arc<ManualClock>) -> Arc<Self> {
        Arc::new(Self {
            backend,
            clock,
            writable: AtomicBool::new(true),
            failed: AtomicU64::new(0),
            state: tokio::sync::Mutex::default(),
            failures: Mutex::default(),
        })
    }

    /// Makes it a standby's ledger, or the active node's again.
    pub(crate) fn set_writable(&self, writable: bool) {
        self.writable.store(writable, Ordering::SeqCst);
    }

    /// The next submissions or confirmations fail with these, in order.
    pub(crate) fn fail_next(&self, errors: impl IntoIterator<Item = SubmitError>) {
        self.script(errors.into_iter().map(Some));
    }

    /// How the next submissions or confirmations end: `None` as usual.
    pub(crate) fn script(&self, ends: impl IntoIterator<Item = Option<SubmitError>>) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
    }

    /// As with the real ledger, a batch that failed voids every pass that was begun before.
    fn next_failure(&self) -> Result<(), SubmitError> {
        match self.failures.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            Some(Some(error)) => {
                self.failed.fetch_add(1, Ordering::SeqCst);
                Err(error)
            }
            Some(None) | None => Ok(()),
        }
    }

    async fn head(&self) -> Result<Head, SubmitError> {
        self.backend.check().await?.ok_or_else(|| StorageError::Empty { storage: "inmem" }.into())
    }
}

#[async_trait]
impl Ledger for TestLedger {
    fn limits(&self) -> Limits {
        self.backend.limits()
    }

    fn time(&self) -> UnixMillis {
        self.clock.unix()
    }

    fn is_writable(&self) -> bool {
        self.writable.load(Ordering::SeqCst)
    }

    async fn begin(&self, max_staleness_ms: u64) -> Result<ReadPass, SubmitError> {
        Ok(ReadPass {
            floor: self.head().await?,
            begun: Stamp(self.failed.load(Ordering::SeqCst)),
            max_staleness_ms,
        })
    }

    async fn get(&self, key: &str, _consistency: Consistency) -> Result<Reading, StorageError> {
        let state = self.state.lock().await;
        Ok(Reading { value: self.backend.get(key).await?.value, stamp: Stamp(state.count) })
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        _consistency: Consistency,
    ) -> Result<Keys, StorageError> {
        let state = self.state.lock().await;
        let listing = self.backend.list(prefix, after, limit).await?;
        Ok(Keys { keys: listing.keys, more: listing.more, stamp: Stamp(state.count) })
    }

    async fn submit(&self, transaction: Transaction) -> Result<Confirmed, SubmitError> {
        self.next_failure()?;
        let mut state = self.state.lock().await;
        let stale =
            transaction.reads.iter().any(|(key, seen)| state.changed.get(key).is_some_and(|at| *at > seen.0))
                || transaction.lists.iter().any(|(prefix, seen)| {
                    state
                        .changed
                        .range(prefix.clone()..)
                        .take_while(|(key, _)| key.starts_with(prefix))
                        .any(|(_, at)| *at > seen.0)
                });
        if stale {
            return Err(SubmitError::Conflict);
        }
        let head = self.head().await?;
        let next = Head {
            seq: head.seq + 1,
            batch_id: BatchId::new(&SystemRandom),
            time: self.time(),
            ..head.clone()
        };
        let ops: Vec<Op> = transaction
            .writes
            .into_iter()
            .map(|(key, value)| match value {
                Some(value) => Op::Put { key, value },
                None => Op::Delete { key },
            })
            .collect();
        match self.backend.commit(Some(&head), &next, &ops).await {
            Commit::Committed => {}
            Commit::Refused(error) => return Err(error.into()),
            other => return Err(SubmitError::Unknown { reason: format!("{other:?}") }),
        }
        state.count += 1;
        let count = state.count;
        state.changed.extend(ops.iter().map(|op| (op.key().to_owned(), count)));
        Ok(Confirmed { head: next, staleness_ms: None })
    }

    async fn confirm(&self, pass: &ReadPass, _newest: Option<Stamp>) -> Result<Confirmed, SubmitError> {
        self.next_failure()?;
        if pass.begun.0 < self.failed.load(Ordering::SeqCst) {
            return Err(SubmitError::NotApplied);
        }
        Ok(Confirmed { head: self.head().await?, staleness_ms: None })
    }
}
