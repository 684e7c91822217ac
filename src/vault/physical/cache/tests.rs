//! The suite over a cache, and what a cache can get wrong: old values while the feed lags, and values of a history
//! that is gone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::base::clock::UnixMillis;
use crate::vault::physical::conformance::{Store, Stores, check_storage};
use crate::vault::physical::head::{BatchId, FORMAT, LockName};
use crate::vault::physical::inmem::InmemBackend;

/// A storage in memory that counts reads and whose feeds can be held up.
#[derive(Clone, Default)]
struct Remote {
    store: InmemBackend,
    reads: Arc<AtomicU64>,
    is_held_up: Arc<AtomicBool>,
    feeds: Arc<AtomicU64>,
    /// Whether only the first feed, the cache's own, is held up.
    is_first_alone: Arc<AtomicBool>,
    /// Whether each event must be asked of the storage.
    is_asked: Arc<AtomicBool>,
}

struct HeldUp {
    feed: Box<dyn Feed>,
    number: u64,
    remote: Remote,
}

impl Remote {
    /// Waits while the feed of this number is held up.
    async fn pass(&self, number: u64) {
        let is_spared = || number > 0 && self.is_first_alone.load(Ordering::SeqCst);
        while self.is_held_up.load(Ordering::SeqCst) && !is_spared() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[async_trait]
impl Feed for HeldUp {
    async fn next(&mut self) -> Result<FeedEvent, StorageError> {
        self.remote.pass(self.number).await;
        let event = self.feed.next().await;
        self.remote.pass(self.number).await;
        event
    }

    fn is_drained(&self) -> bool {
        self.remote.is_asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Backend for Remote {
    fn kind(&self) -> &'static str {
        "remote"
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        self.store.commit(expected, next, ops).await
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        self.store.list(prefix, after, limit).await
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        self.store.check().await
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        let feed = self.store.follow(from).await?;
        let number = self.feeds.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(HeldUp { feed, number, remote: self.clone() }))
    }
}

struct Caches;

#[async_trait]
impl Stores for Caches {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(Remote::default())
    }
}

#[async_trait]
impl Store for Remote {
    async fn open(&self) -> Arc<dyn Backend> {
        Arc::new(CachedBackend::start(Arc::new(self.clone()), 4 << 20))
    }
}

#[tokio::test]
async fn a_cache_keeps_the_laws() {
    assert_eq!(check_storage(&Caches).await, vec![]);
}

fn head(seq: u64) -> Head {
    Head {
        cluster: "c".into(),
        lock: LockName { kind: "inmem".to_owned(), namespace: String::new(), name: "l".to_owned() }.into(),
        epoch: 1,
        seq,
        batch_id: BatchId::new(&SystemRandom),
        node: "n".into(),
        format: FORMAT,
        time: UnixMillis(seq),
    }
}

async fn put(backend: &dyn Backend, expected: Option<&Head>, key: &str, value: &'static str) -> Head {
    let next = head(expected.map_or(1, |head| head.seq + 1));
    let ops = [Op::Put { key: key.to_owned(), value: Bytes::from_static(value.as_bytes()) }];
    assert_eq!(backend.commit(expected, &next, &ops).await, Commit::Committed);
    next
}

async fn get(backend: &CachedBackend, key: &str) -> Option<Bytes> {
    backend.get(key).await.unwrap().value
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn what_was_read_once_is_not_asked_for_again_until_it_changes() {
    let remote = Remote::default();
    let mut last = put(&remote, None, "a", "1").await;
    let cache = CachedBackend::start(Arc::new(remote.clone()), 1 << 20);
    until("a hit", async || {
        let before = remote.reads.load(Ordering::SeqCst);
        assert_eq!(get(&cache, "a").await, Some(Bytes::from_static(b"1")));
        remote.reads.load(Ordering::SeqCst) == before
    })
    .await;
    // Another node writes: this one sees it once its feed has brought it, and then has it again.
    last = put(&remote, Some(&last), "a", "2").await;
    let mut feed = cache.follow(None).await.unwrap();
    until("the change", async || {
        let event = feed.next().await.unwrap();
        matches!(event, FeedEvent::Record(record) if record.head == last)
            || cache.get("a").await.unwrap().head == last
    })
    .await;
    assert_eq!(get(&cache, "a").await, Some(Bytes::from_static(b"2")));
    // Its own commits go through memory: no read at all.
    last = put(&cache, Some(&last), "a", "3").await;
    let before = remote.reads.load(Ordering::SeqCst);
    let read = cache.get("a").await.unwrap();
    assert_eq!((read.value, read.head), (Some(Bytes::from_static(b"3")), last));
    assert_eq!(remote.reads.load(Ordering::SeqCst), before);
}

#[tokio::test]
async fn nothing_older_than_what_was_shown_is_shown_while_the_feed_lags() {
    let remote = Remote::default();
    let first = put(&remote, None, "a", "1").await;
    let cache = CachedBackend::start(Arc::new(remote.clone()), 1 << 20);
    until("a hit", async || {
        let before = remote.reads.load(Ordering::SeqCst);
        get(&cache, "a").await;
        remote.reads.load(Ordering::SeqCst) == before
    })
    .await;
    remote.is_held_up.store(true, Ordering::SeqCst);
    let second = put(&remote, Some(&first), "a", "2").await;
    assert_eq!(cache.check().await.unwrap(), Some(second.clone()));
    let read = cache.get("a").await.unwrap();
    assert_eq!((read.value, read.head), (Some(Bytes::from_static(b"2")), second));
}

#[tokio::test]
async fn a_reset_is_told_once_memory_stands_where_the_storage_does() {
    let remote = Remote::default();
    let cache = CachedBackend::start(Arc::new(remote.clone()), 1 << 20);
    let event = cache.follow(None).await.unwrap().next().await;
    assert_eq!(event, Ok(FeedEvent::Reset { head: None }));
    remote.is_first_alone.store(true, Ordering::SeqCst);
    remote.is_held_up.store(true, Ordering::SeqCst);
    let head = put(&remote, None, "k", "1").await;
    let unknown = Head { seq: head.seq + 1, ..head.clone() };
    let mut feed = cache.follow(Some(unknown)).await.unwrap();
    let mut next = feed.next();
    let early = tokio::time::timeout(Duration::from_millis(200), &mut next).await;
    assert!(early.is_err(), "{early:?}");
    remote.is_held_up.store(false, Ordering::SeqCst);
    assert_eq!(next.await, Ok(FeedEvent::Reset { head: Some(head) }));
}

#[tokio::test(start_paused = true)]
async fn the_storage_is_asked_seldom_unless_somebody_waits() {
    let remote = Remote::default();
    remote.is_asked.store(true, Ordering::SeqCst);
    let mut last = put(&remote, None, "a", "0").await;
    let cache = CachedBackend::start(Arc::new(remote.clone()), 1 << 20);
    let is_there = |last: &Head| cache.shared.state().at.as_ref() == Some(last);
    until("the first", async || is_there(&last)).await;
    for _ in 0..5 {
        last = put(&remote, Some(&last), "a", "1").await;
    }
    let begun = Instant::now();
    until("the records, which this storage tells one by one", async || is_there(&last)).await;
    let unhurried = begun.elapsed();
    assert!(unhurried >= 4 * Duration::from_millis(50), "{unhurried:?}");
    for _ in 0..5 {
        last = put(&remote, Some(&last), "a", "2").await;
    }
    let begun = Instant::now();
    until("them in a hurry", async || {
        cache.hurry();
        is_there(&last)
    })
    .await;
    assert!(begun.elapsed() < unhurried, "{:?}", begun.elapsed());
    // A reader that meets a memory which is behind is in a hurry as well.
    let behind = put(&remote, Some(&last), "a", "3").await;
    assert_eq!(cache.check().await, Ok(Some(behind.clone())));
    let begun = Instant::now();
    assert_eq!(get(&cache, "a").await, Some(Bytes::from_static(b"3")));
    until("what a reader waits for", async || is_there(&behind)).await;
    assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_storage_that_went_back_is_followed_again() {
    let remote = Remote::default();
    let first = put(&remote, None, "a", "1").await;
    let older = remote.store.snapshot();
    let second = put(&remote, Some(&first), "a", "2").await;
    let cache = CachedBackend::start(Arc::new(remote.clone()), 1 << 20);
    until("the newest", async || cache.get("a").await.unwrap().head == second).await;
    remote.store.restore(older);
    until("a reset", async || cache.shared.state().at.as_ref() == Some(&first)).await;
    assert_eq!(get(&cache, "a").await, Some(Bytes::from_static(b"1")));
    until("a hit", async || {
        let before = remote.reads.load(Ordering::SeqCst);
        get(&cache, "a").await;
        remote.reads.load(Ordering::SeqCst) == before
    })
    .await;
}

#[tokio::test]
async fn memory_is_bounded_by_bytes() {
    let remote = Remote::default();
    let mut last = put(&remote, None, "a", "1").await;
    let cache = CachedBackend::start(Arc::new(remote.clone()), 64 << 10);
    for n in 0..200 {
        let next = head(last.seq + 1);
        let ops = [Op::Put { key: format!("k{n}"), value: Bytes::from(vec![0; 2048]) }];
        assert_eq!(cache.commit(Some(&last), &next, &ops).await, Commit::Committed);
        last = next;
    }
    assert!(cache.shared.state().bytes() <= 64 << 10);
    for n in 0..200 {
        assert_eq!(get(&cache, &format!("k{n}")).await.map(|value| value.len()), Some(2048));
    }
}
