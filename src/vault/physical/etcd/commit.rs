//! A commit as one transaction: its request, and what the answer means.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use super::answer::{KIND, damaged};
use super::keys::Keys;
use super::proto::{Compare, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use crate::vault::physical::backend::{Commit, KEY_BYTES, Limits, Op, StorageError};
use crate::vault::physical::head::Head;
use crate::vault::physical::wire;

/// What etcd takes in one branch of a transaction (`--max-txn-ops`).
const BRANCH_OPERATIONS: usize = 128;
/// The head, the journal's record, and the one that it loses.
const OWN_OPERATIONS: usize = 3;
/// Most bytes of keys and values. The request is larger by `path` before every key, the names of the keys in the
/// journal, and two heads.
const COMMIT_BYTES: usize = 1 << 20;
/// What etcd takes in one request (`--max-request-bytes`), less what it adds itself.
const REQUEST_BYTES: usize = (3 << 19) - (4 << 10);

/// The limits of a commit.
pub(super) const LIMITS: Limits = Limits {
    operations: BRANCH_OPERATIONS - OWN_OPERATIONS,
    commit_bytes: COMMIT_BYTES,
    value_bytes: COMMIT_BYTES - KEY_BYTES,
    data_bytes: None,
};

/// The transaction that replaces `expected` by `next` together with `ops`.
///
/// # Errors
/// What makes it a commit that etcd does not take.
pub(super) fn request(
    keys: &Keys,
    expected: Option<&Head>,
    next: &Head,
    ops: &[Op],
) -> Result<TxnRequest, StorageError> {
    LIMITS.admit(KIND, ops)?;
    let compare = match expected {
        Some(head) => vec![Compare::value(keys.head(), Bytes::from(wire::head_bytes(head)))],
        None => keys.nothing_but_the_lock().into(),
    };
    // etcd takes every key once: the last operation on it counts.
    let last: BTreeMap<&str, &Op> = ops.iter().map(|op| (op.key(), op)).collect();
    let mut success: Vec<RequestOp> = last
        .into_iter()
        .map(|(key, op)| match op {
            Op::Put { value, .. } => RequestOp::put(keys.data(key), value.clone()),
            Op::Delete { .. } => RequestOp::delete(keys.data(key)),
        })
        .collect();
    let touched = ops.iter().map(|op| op.key().to_owned()).collect();
    let record = wire::record_of(expected, next, touched);
    success.push(RequestOp::put(keys.record(next.seq), Bytes::from(wire::journal_bytes(&record))));
    success.extend(wire::trimmed_by(next).map(|seq| RequestOp::delete(keys.record(seq))));
    success.push(RequestOp::put(keys.head(), Bytes::from(wire::head_bytes(next))));
    let failure = vec![RangeRequest::of(keys.head()).into()];
    let request = TxnRequest { compare, success, failure };
    let bytes = request.encoded_len();
    if bytes > REQUEST_BYTES {
        let what = "a batch with its journal record";
        return Err(StorageError::TooLarge { storage: KIND, what, bytes, limit_bytes: REQUEST_BYTES });
    }
    Ok(request)
}

/// What the answer to a commit after `expected` means.
pub(super) fn judge(keys: &Keys, expected: Option<&Head>, mut answer: TxnResponse) -> Commit {
    if answer.succeeded {
        return Commit::Committed;
    }
    let Some(found) = answer.range(0) else {
        return Commit::Unknown { reason: "the answer to a refused transaction lacks the head".to_owned() };
    };
    let current = match found.kvs.first().map(|kv| wire::head(&kv.value)).transpose() {
        Ok(current) => current,
        Err(reason) => return Commit::Refused(damaged(reason)),
    };
    match (&current, expected) {
        (None, None) => Commit::Refused(damaged(format!(
            "there are keys under {}, but no head: restore the head, delete them to start anew, or choose another path",
            keys.path()
        ))),
        (Some(current), Some(expected)) if current == expected => Commit::Refused(damaged(
            "the head was written by something else: it means what was expected, but not byte by byte"
                .to_owned(),
        )),
        _ => Commit::Fenced { current },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::UnixMillis;
    use crate::base::random::SeededRandom;
    use crate::vault::physical::etcd::proto::{KeyValue, RangeResponse, Request, Response, ResponseOp};
    use crate::vault::physical::head::{BatchId, LockName};

    fn head(seq: u64) -> Head {
        Head {
            cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
            lock: LockName {
                kind: "etcd".to_owned(),
                namespace: "/vault/".to_owned(),
                name: "lock".to_owned(),
            }
            .into(),
            epoch: 1,
            seq,
            batch_id: BatchId::new(&SeededRandom::new(seq)),
            node: "vault-0".into(),
            format: 1,
            time: UnixMillis(7),
        }
    }

    fn keys() -> Keys {
        Keys::new("/vault/")
    }

    fn put(key: &str, value: impl Into<Bytes>) -> Op {
        Op::Put { key: key.to_owned(), value: value.into() }
    }

    #[test]
    fn everything_is_in_one_transaction_and_every_key_once() {
        let (before, next) = (head(4096), head(4097));
        let ops = [put("a", "1"), Op::Delete { key: "b".to_owned() }, put("a", "2"), put("b", "3")];
        let request = request(&keys(), Some(&before), &next, &ops).unwrap();
        let expected = Compare::value(keys().head(), wire::head_bytes(&before).into());
        assert_eq!(request.compare, [expected]);
        let changed: Vec<_> = request
            .success
            .iter()
            .map(|op| match op.request.as_ref().unwrap() {
                Request::Put(put) => (put.key.clone(), Some(put.value.clone())),
                Request::Delete(delete) => (delete.key.clone(), None),
                Request::Range(range) => panic!("{range:?}"),
            })
            .collect();
        let touched: Vec<String> = ["a", "b", "a", "b"].map(str::to_owned).into();
        let record = wire::record_of(Some(&before), &next, touched);
        assert_eq!(
            changed,
            [
                (keys().data("a"), Some("2".into())),
                (keys().data("b"), Some("3".into())),
                (keys().record(4097), Some(wire::journal_bytes(&record).into())),
                (keys().record(1), None),
                (keys().head(), Some(wire::head_bytes(&next).into())),
            ]
        );
        assert_eq!(request.failure, [RangeRequest::of(keys().head()).into()]);
    }

    #[test]
    fn the_largest_commit_fits_what_etcd_takes() {
        let path = format!("/{}/", "p".repeat(254));
        let keys = Keys::new(&path);
        // The longest keys, of what JSON writes longest, so that the record is as large as it can be.
        let key = |n: usize| format!("{n:03}{}", "\"".repeat(KEY_BYTES - 3));
        let value = vec![1; COMMIT_BYTES / LIMITS.operations - KEY_BYTES];
        let ops: Vec<Op> = (0..LIMITS.operations).map(|n| put(&key(n), value.clone())).collect();
        let request = request(&keys, Some(&head(5000)), &head(5001), &ops).unwrap();
        assert_eq!(request.success.len(), BRANCH_OPERATIONS);
        let more: Vec<Op> = (0..=LIMITS.operations).map(|n| put(&key(n), "v")).collect();
        assert!(super::request(&keys, None, &head(1), &more).is_err());
    }

    #[test]
    fn a_refused_transaction_tells_why() {
        let refused = |stored: Option<Vec<u8>>| TxnResponse {
            header: None,
            succeeded: false,
            responses: vec![ResponseOp {
                response: Some(Response::Range(RangeResponse {
                    kvs: stored
                        .into_iter()
                        .map(|value| KeyValue { value: value.into(), ..KeyValue::default() })
                        .collect(),
                    more: false,
                })),
            }],
        };
        let (one, two) = (head(1), head(2));
        let judge = |expected: Option<&Head>, stored| judge(&keys(), expected, refused(stored));
        let fenced = |current| Commit::Fenced { current };
        assert_eq!(judge(Some(&one), Some(wire::head_bytes(&two))), fenced(Some(two.clone())));
        assert_eq!(judge(None, Some(wire::head_bytes(&two))), fenced(Some(two)));
        assert_eq!(judge(Some(&one), None), fenced(None));
        let is_damage = |outcome| matches!(outcome, Commit::Refused(StorageError::Damaged { .. }));
        assert!(is_damage(judge(None, None)));
        assert!(is_damage(judge(Some(&one), Some(b"{}".to_vec()))));
        let mut spaced = wire::head_bytes(&one);
        spaced.push(b' ');
        assert!(is_damage(judge(Some(&one), Some(spaced))));
        let empty = TxnResponse::default();
        assert!(matches!(super::judge(&keys(), Some(&one), empty), Commit::Unknown { .. }));
    }
}
