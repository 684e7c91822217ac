//! A writer of numbered batches, and the proof that a store holds all of them whole.

use bytes::Bytes;
use holdfast::base::clock::UnixMillis;
use holdfast::base::random::SystemRandom;
use holdfast::vault::physical::file::FileBackend;
use holdfast::vault::physical::{Backend, BatchId, Commit, FORMAT, FeedEvent, Head, LockName, Op};

/// Keys of a batch.
pub const WIDTH: u64 = 8;
/// Batches after which a key is written again.
const AGAIN: u64 = 50;

/// The head of a new store.
pub fn first_head() -> Head {
    Head {
        cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
        lock: LockName::none().into(),
        epoch: 1,
        seq: 1,
        batch_id: BatchId::new(&SystemRandom),
        node: "a".into(),
        format: FORMAT,
        time: UnixMillis(1_700_000_000_000),
    }
}

pub fn next_head(head: &Head) -> Head {
    Head { seq: head.seq + 1, batch_id: BatchId::new(&SystemRandom), ..head.clone() }
}

/// The batch that makes sequence number `seq`: every value says by which batch it was written last.
pub fn batch(seq: u64) -> Vec<Op> {
    (0..WIDTH)
        .map(|n| Op::Put {
            key: format!("slot/{:02}/{n}", seq % AGAIN),
            value: Bytes::from(format!("{seq:>600}")),
        })
        .collect()
}

/// A batch of one large value.
pub fn large(seq: u64, bytes: usize) -> Vec<Op> {
    vec![Op::Put { key: format!("large/{seq:06}"), value: Bytes::from(vec![b'x'; bytes]) }]
}

pub async fn head_of(store: &FileBackend) -> Option<Head> {
    store.check().await.expect("a head")
}

/// Makes the first head if there is none.
pub async fn begin(store: &FileBackend) -> Head {
    if let Some(head) = head_of(store).await {
        return head;
    }
    let head = first_head();
    assert_eq!(store.commit(None, &head, &[]).await, Commit::Committed);
    head
}

/// Commits `ops`; the outcome and the new head.
pub async fn commit(store: &FileBackend, head: &Head, ops: &[Op]) -> (Commit, Head) {
    let next = next_head(head);
    (store.commit(Some(head), &next, ops).await, next)
}

/// Commits `ops` for certain.
pub async fn write(store: &FileBackend, head: &Head, ops: &[Op]) -> Head {
    let (outcome, next) = commit(store, head, ops).await;
    assert_eq!(outcome, Commit::Committed);
    next
}

/// Everything up to the head is there, each batch whole, and the journal has no gap.
pub async fn assert_whole(store: &FileBackend) {
    let head = head_of(store).await.expect("a head");
    let listed = store.list("slot/", None, 10_000).await.expect("keys");
    assert_eq!(listed.head, head);
    let mut used = 0;
    for key in &listed.keys {
        let value = store.get(key).await.expect("a value").value.expect("a listed key");
        used += (key.len() + value.len()) as u64;
    }
    let batches = (2..=head.seq).rev().take(usize::try_from(AGAIN).unwrap_or_default());
    for seq in batches {
        for op in batch(seq) {
            let Op::Put { key, value } = op else { continue };
            let found = store.get(&key).await.expect("a value");
            assert_eq!(found.value, Some(value), "{key} of batch {seq} at {}", head.seq);
        }
    }
    if store.list("large/", None, 1).await.expect("keys").keys.is_empty() {
        assert_eq!(store.used_bytes(), Some(used), "the count of bytes");
    }
    assert_journal(store, &head).await;
}

/// The journal leads from the record two hundred before `head` to it.
async fn assert_journal(store: &FileBackend, head: &Head) {
    use holdfast::vault::physical::JournalSource;
    let from = head.seq.saturating_sub(200).max(1);
    let page = store.page(from, 1000).await.expect("a journal");
    let numbers: Vec<u64> = page.records.iter().map(|record| record.head.seq).collect();
    assert_eq!(numbers, (from..=head.seq).collect::<Vec<_>>(), "the journal");
    let first = page.records[0].head.clone();
    if first == *head {
        return;
    }
    let mut feed = store.follow(Some(first)).await.expect("a feed");
    for record in &page.records[1..] {
        assert_eq!(feed.next().await.expect("a record"), FeedEvent::Record(record.clone()));
    }
    assert_eq!(page.records.last().map(|record| &record.head), Some(head));
}
