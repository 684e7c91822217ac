//! A term over the storage in memory, and over one that stops answering.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::base::clock::{SystemClock, UnixMillis};
use crate::base::random::SystemRandom;
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::physical::{
    BatchId, Commit, Consistency, Feed, Limits, Listing, LockName, Op, Transaction, Value,
};

/// The storage in memory behind a switch.
struct Switched {
    inner: InmemBackend,
    is_away: AtomicBool,
}

impl Switched {
    async fn gate(&self) {
        while self.is_away.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[async_trait]
impl Backend for Switched {
    fn kind(&self) -> &'static str {
        "switched"
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        self.gate().await;
        self.inner.commit(expected, next, ops).await
    }
    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        self.inner.list(prefix, after, limit).await
    }
    async fn check(&self) -> Result<Option<Head>, StorageError> {
        self.gate().await;
        self.inner.check().await
    }
    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        self.inner.follow(from).await
    }
}

fn head(epoch: u64, seq: u64) -> Head {
    Head {
        cluster: "c".into(),
        lock: LockName { kind: "inmem".into(), namespace: String::new(), name: "l".into() },
        epoch,
        seq,
        batch_id: BatchId::new(&SystemRandom),
        node: "n".into(),
        format: 1,
        time: UnixMillis(1),
    }
}

async fn term() -> (Arc<Switched>, Arc<ActiveTerm>, mpsc::UnboundedReceiver<TermEvent>) {
    let backend = Arc::new(Switched { inner: InmemBackend::default(), is_away: AtomicBool::new(false) });
    let claim = head(1, 1);
    assert_eq!(backend.commit(None, &claim, &[]).await, Commit::Committed);
    let (term, events) = ActiveTerm::start(TermParts {
        backend: backend.clone(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        claim,
        read_window: Duration::from_millis(500),
        committer: CommitterSettings::default(),
    });
    (backend, term, events)
}

fn put(key: &str, value: &str) -> Transaction {
    let mut transaction = Transaction::default();
    transaction.writes.insert(key.into(), Some(Bytes::copy_from_slice(value.as_bytes())));
    transaction
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_written_by_many_are_exact() {
    let (_backend, term, _events) = term().await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let ledger = term.ledger();
            task::spawn("writer", async move {
                for _ in 0..50 {
                    loop {
                        let read = ledger.get("n", Consistency::Pending).await.unwrap();
                        let n: u64 = read.value.map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap());
                        let mut transaction = put("n", &(n + 1).to_string());
                        transaction.note_read("n", read.stamp);
                        match ledger.submit(transaction).await {
                            Ok(_) => break,
                            Err(SubmitError::Conflict) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let ledger = term.ledger();
    let pass = ledger.begin(0).await.unwrap();
    let read = ledger.get("n", Consistency::Committed).await.unwrap();
    ledger.confirm(&pass, Some(read.stamp)).await.unwrap();
    assert_eq!(read.value.as_deref(), Some(&b"400"[..]));
    let (counters, _) = term.counters();
    assert_eq!(counters.transactions, 400);
    assert!(counters.commits < 400, "commits are shared: {counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_does_not_answer_is_named_in_time_and_found_again() {
    let (backend, term, mut events) = term().await;
    let ledger = term.ledger();
    ledger.submit(put("a", "1")).await.unwrap();
    backend.is_away.store(true, Ordering::SeqCst);
    let clock = SystemClock;
    let begun = clock.now();
    let refused = ledger.submit(put("a", "2")).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Unknown { .. }), "{refused}");
    assert!(refused.to_string().contains("switched"), "{refused}");
    assert!(clock.now().since(begun) < Duration::from_secs(3));
    assert!(matches!(events.recv().await, Some(TermEvent::StorageAway(_))));
    let refused = ledger.begin(0).await.unwrap_err();
    assert!(refused.to_string().contains("switched"), "{refused}");
    let pass = ledger.begin(60_000).await.unwrap();
    let read = ledger.get("a", Consistency::Committed).await.unwrap();
    let stale = ledger.confirm(&pass, Some(read.stamp)).await.unwrap();
    assert!(stale.staleness_ms.is_some());
    backend.is_away.store(false, Ordering::SeqCst);
    assert_eq!(events.recv().await, Some(TermEvent::StorageBack));
    ledger.submit(put("b", "1")).await.unwrap();
    let pass = ledger.begin(0).await.unwrap();
    let read = ledger.get("a", Consistency::Committed).await.unwrap();
    ledger.confirm(&pass, Some(read.stamp)).await.unwrap();
    assert_eq!(read.value.as_deref(), Some(&b"2"[..]), "what was unknown was carried out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successors_claim_ends_the_term() {
    let (backend, term, mut events) = term().await;
    let ledger = term.ledger();
    let mine = ledger.submit(put("a", "1")).await.unwrap().head;
    let claim = head(2, mine.seq + 1);
    assert_eq!(backend.commit(Some(&mine), &claim, &[]).await, Commit::Committed);
    assert_eq!(ledger.submit(put("a", "2")).await.unwrap_err(), SubmitError::NotActive);
    assert_eq!(events.recv().await, Some(TermEvent::SawHead(Some(claim))));
    assert_eq!(ledger.begin(0).await.unwrap_err(), SubmitError::NotActive);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_after_the_window_needs_a_check_and_a_renounced_term_gives_none() {
    let (_backend, term, _events) = term().await;
    let ledger = term.ledger();
    ledger.submit(put("a", "1")).await.unwrap();
    assert_eq!(term.counters().1, 0, "a commit proves leadership");
    tokio::time::sleep(Duration::from_millis(550)).await;
    let pass = ledger.begin(0).await.unwrap();
    ledger.confirm(&pass, None).await.unwrap();
    assert_eq!(term.counters().1, 1);
    assert_eq!(term.prove(None).await.unwrap(), term.acknowledged());
    term.renounce();
    assert_eq!(ledger.confirm(&pass, None).await.unwrap_err(), SubmitError::NotActive);
}
