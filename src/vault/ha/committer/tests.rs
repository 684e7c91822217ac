//! Tables of the committer's rules, and a property: whatever happens to batches, the store holds what was acknowledged,
//! each transaction once, as if they had run one after another.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::base::random::{Random, SeededRandom};
use crate::vault::physical::inmem::Store;
use crate::vault::physical::{BatchId, Commit, Journal, LockName};

fn at(millis: u64) -> Moment {
    Moment::from_origin(Duration::from_millis(millis))
}

const WALL: UnixMillis = UnixMillis(1_000_000);

fn head(epoch: u64, seq: u64, random: &dyn Random) -> Head {
    Head {
        cluster: "c".into(),
        lock: LockName { kind: "inmem".into(), namespace: String::new(), name: "l".into() }.into(),
        epoch,
        seq,
        batch_id: BatchId::new(random),
        node: "n".into(),
        format: 1,
        time: WALL,
    }
}

fn limits() -> Limits {
    Limits { operations: 4, commit_bytes: 1000, value_bytes: 500, data_bytes: None }
}

struct Bench {
    committer: Committer,
    random: SeededRandom,
}

fn bench() -> Bench {
    let random = SeededRandom::new(1);
    let claim = head(3, 10, &random);
    let settings = CommitterSettings { queue_count: 3, ..CommitterSettings::default() };
    Bench { committer: Committer::new(settings, limits(), claim, at(0)), random }
}

fn put(key: &str, value: &str) -> Transaction {
    let mut transaction = Transaction::default();
    transaction.writes.insert(key.into(), Some(Bytes::copy_from_slice(value.as_bytes())));
    transaction
}

fn reading(mut transaction: Transaction, key: &str, stamp: Stamp) -> Transaction {
    transaction.note_read(key, stamp);
    transaction
}

impl Bench {
    fn send(&mut self, millis: u64) -> Option<Send> {
        self.committer.poll(at(millis), WALL, &self.random)
    }

    fn answer(&mut self, send: &Send, answer: Commit) -> Vec<Done> {
        self.committer.on_commit(send.next.batch_id, answer, at(1), &self.random)
    }
}

fn ids(done: &[Done]) -> Vec<(TxnId, bool)> {
    done.iter().map(|d| (d.id, d.result.is_ok())).collect()
}

#[test]
fn one_commit_is_in_flight_and_the_rest_goes_with_the_next() {
    let mut b = bench();
    b.committer.submit(1, put("a", "1")).unwrap();
    let first = b.send(0).unwrap();
    assert_eq!((first.next.seq, first.ops.len()), (11, 1));
    b.committer.submit(2, put("b", "2")).unwrap();
    b.committer.submit(3, put("b", "3")).unwrap();
    assert_eq!(b.send(0), None);
    assert_eq!(ids(&b.answer(&first, Commit::Committed)), [(1, true)]);
    let second = b.send(0).unwrap();
    assert_eq!(second.expected, first.next);
    assert_eq!(second.ops, [Op::Put { key: "b".into(), value: Bytes::from_static(b"3") }]);
    assert_eq!(ids(&b.answer(&second, Commit::Committed)), [(2, true), (3, true)]);
    assert_eq!(b.committer.acknowledged().seq, 12);
}

#[test]
fn a_batch_stays_within_the_limits_of_the_storage() {
    // Four operations and a thousand bytes are the most that one commit may hold; see limits().
    for (value_bytes, most) in [(1, 4), (400, 2)] {
        let random = SeededRandom::new(1);
        let settings = CommitterSettings { queue_count: 20, ..CommitterSettings::default() };
        let mut b = Bench {
            committer: Committer::new(settings, limits(), head(3, 10, &random), at(0)),
            random: SeededRandom::new(2),
        };
        for id in 0..10 {
            b.committer.submit(id, put(&format!("k{id}"), &"v".repeat(value_bytes))).unwrap();
        }
        let mut done = Vec::new();
        while let Some(send) = b.send(0) {
            let bytes: usize = send.ops.iter().map(|op| op.key().len() + value_bytes).sum();
            assert!(send.ops.len() <= limits().operations && bytes <= limits().commit_bytes, "{send:?}");
            assert!(send.ops.len() == most || done.len() + send.ops.len() == 10, "as many as fit: {send:?}");
            done.extend(ids(&b.answer(&send, Commit::Committed)));
        }
        assert_eq!(done, (0..10).map(|id| (id, true)).collect::<Vec<_>>(), "in order, none left behind");
    }
}

#[test]
fn a_read_that_is_no_longer_true_conflicts() {
    let mut b = bench();
    let seen = b.committer.stamp_at(10).unwrap();
    b.committer.submit(1, put("a", "1")).unwrap();
    assert_eq!(b.committer.submit(2, reading(put("x", "1"), "a", seen)), Err(SubmitError::Conflict));
    let (value, stamp) = b.committer.pending("a").unwrap();
    assert_eq!(value.as_deref(), Some(&b"1"[..]));
    b.committer.submit(3, reading(put("x", "1"), "a", stamp)).unwrap();
    let mut listed = put("y", "1");
    listed.note_list("x", seen);
    assert_eq!(b.committer.submit(4, listed), Err(SubmitError::Conflict), "a list sees new keys");
    let send = b.send(0).unwrap();
    b.answer(&send, Commit::Committed);
    assert_eq!(b.committer.submit(5, reading(put("z", "1"), "a", seen)), Err(SubmitError::Conflict));
    let fresh = b.committer.stamp_at(11).unwrap();
    b.committer.submit(6, reading(put("z", "1"), "a", fresh)).unwrap();
}

#[test]
fn state_that_is_not_remembered_is_read_again() {
    let b = bench();
    assert_eq!(b.committer.stamp_at(9), None);
    assert_eq!(b.committer.stamp_at(10), Some(Stamp(0)));
}

#[test]
fn unknown_is_sent_again_until_the_head_moves() {
    let mut b = bench();
    b.committer.submit(1, put("a", "1")).unwrap();
    let first = b.send(0).unwrap();
    assert!(b.answer(&first, Commit::Unknown { reason: "lost".into() }).is_empty());
    b.committer.submit(2, put("b", "1")).unwrap();
    let again = b.send(5000).unwrap();
    assert_eq!((again.next.batch_id, again.again), (first.next.batch_id, true));
    let fenced = Commit::Fenced { current: Some(first.next.clone()) };
    assert_eq!(ids(&b.answer(&again, fenced)), [(1, true)], "fenced by its own earlier copy is applied");
    assert_eq!(b.send(5000).unwrap().expected, first.next);
}

#[test]
fn a_successors_claim_at_the_same_number_proves_that_nothing_was_stored() {
    let mut b = bench();
    b.committer.submit(1, put("a", "1")).unwrap();
    let send = b.send(0).unwrap();
    b.committer.submit(2, put("b", "1")).unwrap();
    let claim = head(4, 11, &b.random);
    let done = b.answer(&send, Commit::Fenced { current: Some(claim) });
    assert!(done.iter().all(|d| d.result == Err(SubmitError::NotActive)), "{done:?}");
    assert_eq!(done.len(), 2);
    assert_eq!(b.committer.submit(3, put("c", "1")), Err(SubmitError::NotActive));
}

#[test]
fn a_later_head_leaves_the_flight_open_until_the_journal_tells() {
    let mut b = bench();
    b.committer.submit(1, put("a", "1")).unwrap();
    let send = b.send(0).unwrap();
    b.committer.submit(2, put("b", "1")).unwrap();
    let done = b.answer(&send, Commit::Fenced { current: Some(head(4, 12, &b.random)) });
    assert_eq!(ids(&done), [(2, false)], "what never was sent is certain, what was is not");
    assert_eq!(b.send(9999), None, "an overtaken batch is not sent again");
    let ours = Journal { head: send.next.clone(), replaced: None, keys: vec![] };
    assert_eq!(ids(&b.committer.on_journal(&ours)), [(1, true)]);
}

#[test]
fn without_proof_the_outcome_stays_unknown() {
    let mut b = bench();
    b.committer.submit(1, put("a", "1")).unwrap();
    let send = b.send(0).unwrap();
    b.answer(&send, Commit::Fenced { current: Some(head(4, 12, &b.random)) });
    let done = b.committer.give_up("gap");
    assert_eq!(done.len(), 1);
    assert!(matches!(done[0].result, Err(SubmitError::Unknown { .. })));
}

#[test]
fn a_full_store_fails_what_adds_and_runs_again_what_deletes() {
    let mut b = bench();
    b.committer.submit(1, put("a", "1")).unwrap();
    let mut delete = Transaction::default();
    delete.writes.insert("old".into(), None);
    b.committer.submit(2, delete).unwrap();
    let send = b.send(0).unwrap();
    b.committer.submit(3, put("c", "1")).unwrap();
    let full = StorageError::Full { storage: "inmem", used_bytes: 9, limit_bytes: 9 };
    let done = b.answer(&send, Commit::Refused(full.clone()));
    let results: Vec<_> = done.into_iter().map(|d| (d.id, d.result.unwrap_err())).collect();
    assert_eq!(
        results,
        [(1, SubmitError::Storage(full)), (2, SubmitError::NotApplied), (3, SubmitError::NotApplied)]
    );
    assert!(b.committer.pending("c").is_none());
}

#[test]
fn what_read_a_pending_value_that_failed_runs_again() {
    let mut b = bench();
    let begun = b.committer.newest_stamp();
    b.committer.submit(1, put("a", "1")).unwrap();
    let (_, dirty) = b.committer.pending("a").unwrap();
    let send = b.send(0).unwrap();
    assert_eq!(b.committer.settled(begun, dirty), Settled::Pending);
    let full = StorageError::Full { storage: "inmem", used_bytes: 9, limit_bytes: 9 };
    b.answer(&send, Commit::Refused(full));
    assert_eq!(b.committer.submit(2, reading(put("x", "1"), "a", dirty)), Err(SubmitError::Conflict));
    assert_eq!(b.committer.settled(begun, dirty), Settled::Failed);
    assert_eq!(
        b.committer.settled(begun, Stamp(0)),
        Settled::Committed,
        "who saw nothing of it is not disturbed"
    );
    let clean = b.committer.stamp_at(10).unwrap();
    b.committer.submit(3, reading(put("x", "1"), "a", clean)).unwrap();
    assert_eq!(b.committer.counters().conflicts, 1);
}

#[test]
fn a_storage_that_does_not_answer_is_told_to_all_who_wait_and_the_batch_stays() {
    let mut b = bench();
    let away = StorageError::Unavailable { storage: "inmem", reason: "gone".into() };
    assert!(b.committer.stall(&away).is_empty(), "nothing waits");
    b.committer.submit(1, put("a", "1")).unwrap();
    let send = b.send(0).unwrap();
    b.committer.submit(2, put("b", "1")).unwrap();
    let done = b.committer.stall(&away);
    assert!(
        matches!(&done[0].result, Err(SubmitError::Unknown { reason }) if reason.contains("inmem")),
        "{done:?}"
    );
    assert_eq!(done[1].result, Err(SubmitError::Storage(away.clone())));
    assert_eq!(b.committer.submit(3, put("c", "1")), Err(SubmitError::Storage(away)));
    b.answer(&send, Commit::Unknown { reason: "lost".into() });
    let again = b.send(9000).unwrap();
    assert_eq!(again.next, send.next);
    assert!(b.answer(&again, Commit::Committed).is_empty(), "nobody is told twice");
    assert!(b.committer.pending("a").is_none());
    let (a, reverted) = (b.committer.stamp_at(11).unwrap(), b.committer.stamp_at(11).unwrap());
    b.committer.submit(4, reading(reading(put("c", "1"), "a", a), "b", reverted)).unwrap();
}

#[test]
fn a_refusal_after_an_unknown_outcome_is_settled_by_an_empty_commit() {
    for lands in [false, true] {
        let mut b = bench();
        b.committer.submit(1, put("a", "1")).unwrap();
        let first = b.send(0).unwrap();
        b.answer(&first, Commit::Unknown { reason: "lost".into() });
        let full = StorageError::Full { storage: "inmem", used_bytes: 9, limit_bytes: 9 };
        let again = b.send(5000).unwrap();
        assert!(b.answer(&again, Commit::Refused(full.clone())).is_empty(), "the first copy may still land");
        let empty = b.send(9000).unwrap();
        assert!(empty.ops.is_empty() && empty.next.batch_id != first.next.batch_id);
        assert_eq!(empty.expected, first.expected);
        if lands {
            let done = b.answer(&empty, Commit::Fenced { current: Some(first.next.clone()) });
            assert_eq!(done, [Done { id: 1, result: Ok(first.next) }]);
        } else {
            let done = b.answer(&empty, Commit::Committed);
            assert_eq!(done, [Done { id: 1, result: Err(SubmitError::Storage(full)) }]);
            assert!(b.committer.pending("a").is_none());
        }
        b.committer.submit(2, put("b", "1")).unwrap();
        assert!(b.send(9999).is_some());
    }
}

#[test]
fn limits_are_known_before_anything_is_sent() {
    let mut b = bench();
    let large = "x".repeat(501);
    assert!(matches!(
        b.committer.submit(1, put("a", &large)),
        Err(SubmitError::Storage(StorageError::TooLarge { .. }))
    ));
    for id in 2..5 {
        b.committer.submit(id, put("a", "1")).unwrap();
    }
    assert_eq!(b.committer.submit(5, put("a", "1")), Err(SubmitError::Busy));
}

#[test]
fn a_suspended_committer_starts_nothing_and_a_handing_over_one_finishes() {
    let mut b = bench();
    b.committer.submit(1, put("a", "1")).unwrap();
    b.committer.suspend(true);
    assert_eq!(b.send(0), None);
    b.committer.suspend(false);
    b.committer.stop(Stopped::HandingOver);
    assert_eq!(b.committer.submit(2, put("b", "1")), Err(SubmitError::NotActive));
    let send = b.send(0).unwrap();
    assert_eq!(ids(&b.answer(&send, Commit::Committed)), [(1, true)]);
    b.committer.resume();
    b.committer.submit(3, put("b", "1")).unwrap();
}

#[test]
fn cluster_time_follows_the_wall_clock_unless_it_jumps() {
    let mut time = ClusterTime::starting_at(UnixMillis(100_000), at(0));
    assert_eq!(time.advance(at(1000), UnixMillis(101_200)), UnixMillis(101_200));
    assert_eq!(time.advance(at(2000), UnixMillis(999_000_000)), UnixMillis(102_200));
    assert!(time.is_skewed(at(2000), UnixMillis(999_000_000)));
    assert_eq!(time.advance(at(2001), UnixMillis(90_000)), UnixMillis(102_200), "never back");
    assert_eq!(time.advance(at(2002), UnixMillis(102_000)), UnixMillis(102_200), "never back");
}

/// Runs transactions that each read a counter and write it plus one, with answers lost and copies arriving late.
fn counters(seed: u64, steps: usize) {
    let random = SeededRandom::new(seed);
    let mut store = Store::new();
    let claim = head(1, 1, &random);
    assert_eq!(store.commit(None, &claim, &[]), Commit::Committed);
    let mut committer = Committer::new(
        CommitterSettings { window: 4, ..CommitterSettings::default() },
        limits(),
        claim,
        at(0),
    );
    let (mut acknowledged, mut now, mut open) = (BTreeMap::new(), 0, BTreeMap::new());
    let mut late: Vec<Send> = Vec::new();
    for id in 0..steps as u64 {
        now += random.below(30);
        let key = format!("k{}", random.below(2));
        let (value, stamp) = match committer.pending(&key) {
            Some((value, stamp)) => (value, Some(stamp)),
            None => {
                let read = store.get(&key).unwrap();
                (read.value, committer.stamp_at(read.head.seq))
            }
        };
        if let Some(stamp) = stamp {
            let count: u64 = value.map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap());
            let transaction = reading(put(&key, &(count + 1).to_string()), &key, stamp);
            if committer.submit(id, transaction).is_ok() {
                open.insert(id, (key, count + 1));
            }
        }
        if random.below(3) == 0 && !late.is_empty() {
            // A copy that was delayed on the way arrives now.
            let copy = late.remove(0);
            store.commit(Some(&copy.expected), &copy.next, &copy.ops);
        }
        if let Some(send) = committer.poll(at(now), WALL, &random) {
            let answer = match random.below(6) {
                0 => {
                    late.push(send.clone());
                    Commit::Unknown { reason: "delayed".into() }
                }
                1 => {
                    store.commit(Some(&send.expected), &send.next, &send.ops);
                    Commit::Unknown { reason: "answer lost".into() }
                }
                2 => Commit::Refused(StorageError::Full { storage: "inmem", used_bytes: 1, limit_bytes: 1 }),
                _ => store.commit(Some(&send.expected), &send.next, &send.ops),
            };
            for done in committer.on_commit(send.next.batch_id, answer, at(now), &random) {
                let (key, count) = open.remove(&done.id).unwrap();
                if let Err(error) = &done.result {
                    assert!(matches!(error, SubmitError::NotApplied | SubmitError::Storage(_)), "{error}");
                    continue;
                }
                let last = acknowledged.insert(key, count).unwrap_or(0);
                assert_eq!(count, last + 1, "acknowledged in order, none lost, none doubled");
            }
        }
    }
    for (key, count) in acknowledged {
        let stored: u64 = String::from_utf8_lossy(&store.get(&key).unwrap().value.unwrap()).parse().unwrap();
        assert!(stored >= count, "{key}: {stored} stored, {count} acknowledged");
    }
}

proptest! {
    #[test]
    fn counters_are_exact_whatever_happens_to_answers(seed in any::<u64>()) {
        counters(seed, 200);
    }
}
