//! What a writer and a follower of any storage do, step by step.

use std::time::Duration;

use bytes::Bytes;
use holdfast::base::random::SystemRandom;
use holdfast::vault::physical::{Backend, BatchId, Commit, Feed, FeedEvent, Head, Op};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn next_head(head: &Head) -> Head {
    Head { seq: head.seq + 1, batch_id: BatchId::new(&SystemRandom), ..head.clone() }
}

pub fn put(key: &str, value: impl Into<Bytes>) -> Op {
    Op::Put { key: key.to_owned(), value: value.into() }
}

/// Sends a batch until its outcome is known.
pub async fn settle(
    backend: &dyn Backend,
    expected: Option<&Head>,
    next: &Head,
    ops: &[Op],
) -> Result<(), Commit> {
    let sending = async {
        loop {
            match backend.commit(expected, next, ops).await {
                Commit::Committed => return Ok(()),
                Commit::Fenced { current } if current.as_ref() == Some(next) => return Ok(()),
                Commit::Unknown { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
                other => return Err(other),
            }
        }
    };
    tokio::time::timeout(PATIENCE, sending).await.expect("a known outcome")
}

/// The value of `key`.
pub async fn read(backend: &dyn Backend, key: &str) -> Option<Bytes> {
    backend.get(key).await.expect("a read").value
}

/// The next event of a feed.
pub async fn event(feed: &mut dyn Feed) -> FeedEvent {
    let next = async {
        loop {
            match feed.next().await {
                Ok(event) => return event,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("an event")
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}
