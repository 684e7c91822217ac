//! A writer that keeps heads in order, as a node does.

use std::sync::Arc;

use bytes::Bytes;

use super::within;
use crate::base::clock::UnixMillis;
use crate::base::random::SystemRandom;
use crate::vault::physical::backend::{Backend, Commit, Op};
use crate::vault::physical::head::{BatchId, FORMAT, Head, LockName};

/// The head that init makes.
pub(super) fn first_head(node: &str) -> Head {
    Head {
        cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
        lock: Arc::new(LockName {
            kind: "inmem".to_owned(),
            namespace: String::new(),
            name: "lock".to_owned(),
        }),
        epoch: 1,
        seq: 1,
        batch_id: BatchId::new(&SystemRandom),
        node: node.into(),
        format: FORMAT,
        time: UnixMillis(1_700_000_000_000),
    }
}

/// The head of the next commit after `head`.
pub(super) fn next_head(head: &Head) -> Head {
    Head {
        seq: head.seq + 1,
        batch_id: BatchId::new(&SystemRandom),
        time: UnixMillis(head.time.0 + 1),
        ..head.clone()
    }
}

/// The head of a claim after `head`.
pub(super) fn claim_head(head: &Head, node: &str) -> Head {
    Head { epoch: head.epoch + 1, node: node.into(), ..next_head(head) }
}

pub(super) fn put(key: &str, value: impl Into<Bytes>) -> Op {
    Op::Put { key: key.to_owned(), value: value.into() }
}

pub(super) fn delete(key: &str) -> Op {
    Op::Delete { key: key.to_owned() }
}

/// Sends a batch until its outcome is known, as the law of unknown outcomes wants.
pub(super) async fn settle(
    backend: &dyn Backend,
    expected: Option<&Head>,
    next: &Head,
    ops: &[Op],
) -> Result<(), String> {
    let outcome = within("a known outcome of a commit", async {
        loop {
            match backend.commit(expected, next, ops).await {
                Commit::Unknown { .. } => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                known => return known,
            }
        }
    });
    match outcome.await? {
        Commit::Committed => Ok(()),
        Commit::Fenced { current } if current.as_ref() == Some(next) => Ok(()),
        other => Err(format!("commit at sequence number {} ended with {other:?}", next.seq)),
    }
}

/// Initialises the store with nothing in it.
pub(super) async fn init(backend: &dyn Backend) -> Result<Head, String> {
    let head = first_head("a");
    settle(backend, None, &head, &[]).await?;
    Ok(head)
}

/// Commits `ops` after `head`.
pub(super) async fn write(backend: &dyn Backend, head: &Head, ops: &[Op]) -> Result<Head, String> {
    let next = next_head(head);
    settle(backend, Some(head), &next, ops).await?;
    Ok(next)
}

/// The value of `key`.
pub(super) async fn read(backend: &dyn Backend, key: &str) -> Result<Option<Bytes>, String> {
    backend.get(key).await.map(|value| value.value).map_err(|error| format!("get {key:?}: {error}"))
}
