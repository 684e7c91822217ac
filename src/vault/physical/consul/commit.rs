//! One commit: a transaction that compares the head and stores everything.

use super::backend::Shared;
use super::client::{Call, encoded};
use super::config::KIND;
use super::reads;
use super::transaction::{self, BODY_BYTES, OPERATIONS, Objection, Outcome, Step, writing};
use crate::vault::physical::backend::{Commit, Limits, Op, StorageError};
use crate::vault::physical::head::Head;
use crate::vault::physical::wire;

/// Operations that every commit needs for itself: head, mark of the old head (read and removed), mark of the new one,
/// record of the journal, and the record that is trimmed.
const OWN_OPERATIONS: usize = 6;
/// Bytes of keys and values of a commit. Values travel in base64 (four bytes for three) and keys a second time in the
/// journal's record; what is left of Consul's 512 KiB holds the heads and what surrounds every operation.
const COMMIT_BYTES: usize = 320 << 10;

pub(super) const LIMITS: Limits = Limits {
    operations: OPERATIONS - OWN_OPERATIONS,
    commit_bytes: COMMIT_BYTES,
    value_bytes: COMMIT_BYTES - (1 << 10),
    data_bytes: None,
};

/// Sends of one call: a definite refusal that turns out to be about the index alone is no verdict.
const ATTEMPTS: usize = 3;
/// Where in a transaction the head is compared.
const HEAD_STEP: usize = 0;
/// Where in a transaction the mark of the expected head is read.
const MARK_STEP: usize = 1;

/// Replaces `expected` by `next` together with `ops`.
///
/// Consul compares the index of a key's last change, not its value, and after a restore of another snapshot the same
/// index may belong to something else. So the transaction also reads a mark that bears the name of the expected
/// head's batch, which fails if there is none, and replaces it by the next one's.
pub(super) async fn commit(shared: &Shared, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
    if let Err(error) = LIMITS.admit(KIND, ops) {
        return Commit::Refused(error);
    }
    let mut lost_mark = false;
    let mut reason = String::new();
    for _ in 0..ATTEMPTS {
        let index = match index_of(shared, expected).await {
            Ok(index) => index,
            Err(ending) => return ending,
        };
        let body = transaction::body(&steps(shared, expected, index, next, ops));
        // Consul answers before it has read a body that is too large, and closes: that may look like a lost answer.
        if body.len() > BODY_BYTES {
            let (bytes, limit_bytes) = (body.len(), BODY_BYTES);
            let what = "a batch in the form that Consul takes";
            return Commit::Refused(StorageError::TooLarge { storage: KIND, what, bytes, limit_bytes });
        }
        let answer = match shared.client.write(&writing(body)).await {
            Ok(answer) => answer,
            Err(reason) => return Commit::Unknown { reason },
        };
        let objections = match Outcome::read(&answer) {
            Some(Outcome::Done(pairs)) => {
                let head = shared.layout.head();
                let Some(stored) = pairs.iter().find(|pair| pair.key == head) else {
                    return Commit::Unknown { reason: "the answer does not name the head".to_owned() };
                };
                shared.observe(Some(next.clone()), stored.index);
                return Commit::Committed;
            }
            Some(Outcome::Failed(objections)) => objections,
            // Consul counts and weighs a transaction before it does anything else.
            None if answer.status == 413 => return Commit::Refused(lowered(&answer.text())),
            None => return Commit::Unknown { reason: answer.text() },
        };
        if !objections.iter().any(is_fence) {
            return Commit::Unknown { reason: transaction::listed(&objections) };
        }
        reason = transaction::listed(&objections);
        let current = match reads::head(shared).await {
            Ok(current) => current.map(|(head, _)| head),
            Err(error) => return Commit::Unknown { reason: format!("{reason}; then {error}") },
        };
        if current.as_ref() != expected {
            return Commit::Fenced { current };
        }
        // The head is the expected one: it has come about since, or its index was another one. Nothing was stored, and
        // with the index as it is now the commit may be sent again.
        let is_marked = !objections.iter().any(|objection| objection.step == MARK_STEP);
        if lost_mark && !is_marked && expected.is_some() {
            let mark = expected.map(|head| shared.layout.mark(head.batch_id)).unwrap_or_default();
            let reason = format!(
                "the head is there without its mark {mark}: keys were removed or restored one by one"
            );
            return Commit::Refused(StorageError::Damaged { storage: KIND, reason });
        }
        lost_mark = !is_marked;
    }
    Commit::Unknown { reason: format!("refused {ATTEMPTS} times although the head is as expected: {reason}") }
}

/// Whether an objection says that the head is not the expected one.
fn is_fence(objection: &Objection) -> bool {
    objection.step == HEAD_STEP && objection.is_stale()
        || objection.step == MARK_STEP && objection.is_absence()
}

/// The index of the expected head; zero where there must be none.
async fn index_of(shared: &Shared, expected: Option<&Head>) -> Result<u64, Commit> {
    let Some(expected) = expected else { return vacant(shared).await.map(|()| 0) };
    if let Some(index) = shared.index_of(expected) {
        return Ok(index);
    }
    // Nothing was sent that writes: what this call would store is certainly not stored by it.
    match reads::head(shared).await {
        Ok(Some((head, index))) if head == *expected => Ok(index),
        Ok(current) => Err(Commit::Fenced { current: current.map(|(head, _)| head) }),
        Err(error) => Err(Commit::Unknown { reason: error.to_string() }),
    }
}

/// Makes sure before init that nothing lies under the path but a lock.
async fn vacant(shared: &Shared) -> Result<(), Commit> {
    let unknown = |error: StorageError| Commit::Unknown { reason: error.to_string() };
    let layout = &shared.layout;
    let target = format!("/v1/kv/{}?keys&separator=%2F&consistent", encoded(&layout.path));
    let answer = shared.client.ask(&Call::get(target)).await.map_err(unknown)?;
    let found = reads::keys(&answer).map_err(unknown)?;
    if found.contains(&layout.head()) {
        let current = reads::head(shared).await.map_err(unknown)?;
        return Err(Commit::Fenced { current: current.map(|(head, _)| head) });
    }
    let others: Vec<_> = found.iter().filter(|key| **key != layout.lock()).take(3).cloned().collect();
    if others.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "there is data ({}) and no head: the head was removed, or another program keeps its data there; restore it, or choose another path",
        others.join(", ")
    );
    Err(Commit::Refused(StorageError::Damaged { storage: KIND, reason }))
}

/// The limits of the agents are below Consul's own.
fn lowered(text: &str) -> StorageError {
    let reason =
        format!("{text}; leave limits.txn_max_req_len and limits.kv_max_value_size at 512 KiB or more");
    StorageError::Denied { storage: KIND, reason }
}

/// The transaction of a commit.
fn steps(shared: &Shared, expected: Option<&Head>, index: u64, next: &Head, ops: &[Op]) -> Vec<Step> {
    let layout = &shared.layout;
    let keys = ops.iter().map(|op| op.key().to_owned()).collect();
    let record = wire::record_of(expected, next, keys);
    let mut steps = Vec::with_capacity(ops.len() + OWN_OPERATIONS);
    steps.push(Step::swap(layout.head(), &wire::head_bytes(next), index));
    if let Some(expected) = expected {
        steps.push(Step::get(layout.mark(expected.batch_id)));
        steps.push(Step::delete(layout.mark(expected.batch_id)));
    }
    steps.push(Step::set(layout.mark(next.batch_id), b""));
    steps.push(Step::set(layout.record(next.seq), &wire::journal_bytes(&record)));
    if let Some(seq) = wire::trimmed_by(next) {
        steps.push(Step::delete(layout.record(seq)));
    }
    let data = layout.data();
    steps.extend(ops.iter().map(|op| match op {
        Op::Put { key, value } => Step::set(format!("{data}{key}"), value),
        Op::Delete { key } => Step::delete(format!("{data}{key}")),
    }));
    steps
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::base::clock::UnixMillis;
    use crate::base::random::SystemRandom;
    use crate::vault::physical::backend::KEY_BYTES;
    use crate::vault::physical::consul::client::Client;
    use crate::vault::physical::consul::config::{Layout, Settings};
    use crate::vault::physical::head::{BatchId, LockName};

    fn head(seq: u64) -> Head {
        Head {
            cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
            lock: LockName { kind: "kubernetes".to_owned(), namespace: "n".repeat(63), name: "l".repeat(63) }
                .into(),
            epoch: u64::MAX,
            seq,
            batch_id: BatchId::new(&SystemRandom),
            node: "p".repeat(320).into(),
            format: 1,
            time: UnixMillis(1_700_000_000_000),
        }
    }

    fn shared() -> Shared {
        let settings = Settings {
            addresses: Vec::new(),
            token: None,
            tls: Default::default(),
            request_timeout: Duration::from_secs(1),
        };
        Shared::new(Arc::new(Client::new(settings)), Layout { path: format!("{}/", "p".repeat(255)) })
    }

    #[test]
    fn whatever_is_within_the_limits_fits_a_transaction() {
        let shared = shared();
        let (before, next) = (head(9_000), head(9_001));
        let put = |n: usize, key_bytes: usize, value_bytes: usize| Op::Put {
            key: format!("{n:04}{}", "k".repeat(key_bytes - 4)),
            value: Bytes::from(vec![0xff; value_bytes]),
        };
        let count = LIMITS.operations;
        let long = (LIMITS.commit_bytes - count * KEY_BYTES) / count;
        let batches: [Vec<Op>; 3] = [
            vec![put(0, KEY_BYTES, LIMITS.value_bytes)],
            (0..count).map(|n| put(n, KEY_BYTES, long)).collect(),
            (0..count).map(|n| put(n, 4, LIMITS.commit_bytes / count - 4)).collect(),
        ];
        for ops in batches {
            assert_eq!(LIMITS.admit(KIND, &ops), Ok(()));
            let steps = steps(&shared, Some(&before), u64::MAX, &next, &ops);
            assert!(steps.len() <= OPERATIONS, "{} operations", steps.len());
            let bytes = transaction::body(&steps).len();
            assert!(bytes <= BODY_BYTES, "{} operations take {bytes} bytes", ops.len());
        }
    }

    #[test]
    fn only_head_and_mark_fence() {
        let said = |step: usize, what: &str| Objection { step, what: what.to_owned() };
        assert!(is_fence(&said(HEAD_STEP, "failed to set key \"v/head\", index is stale")));
        assert!(is_fence(&said(MARK_STEP, "key \"v/mark/1\" doesn't exist")));
        assert!(!is_fence(&said(HEAD_STEP, "Permission denied")));
        assert!(!is_fence(&said(MARK_STEP, "Permission denied")));
        assert!(!is_fence(&said(4, "failed to set key \"v/x\", index is stale")));
    }
}
