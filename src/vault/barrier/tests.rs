//! Tests of the barrier: what is stored, and what a transaction sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::testing::TestLedger;
use super::*;
use crate::base::clock::{ManualClock, UnixMillis};
use crate::base::random::SystemRandom;
use crate::base::secret::SecretBytes;
use crate::vault::physical::head::FORMAT;
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::physical::{Backend, BatchId, Commit, Consistency, Head, Ledger, LockName, SubmitError};

fn barrier(cluster: &str, root: u8) -> Barrier {
    let ring = Keyring::generate(&SystemRandom, UnixMillis(1)).expect("keyring");
    Barrier::new(cluster.to_owned(), Arc::new(SystemRandom), SecretBytes::new(vec![root; 32]), ring)
}

#[test]
fn a_record_has_the_layout_and_opens_only_where_it_belongs() {
    let barrier = barrier("cluster-a", 1);
    let record = barrier.encrypt("logical/x", b"secret").expect("encrypted");
    assert_eq!(record[..5], [1, 0, 0, 0, 1], "version and term");
    assert_eq!(record.len(), 5 + 12 + 6 + 16);
    assert_eq!(barrier.decrypt("logical/x", &record).expect("decrypted").expose(), b"secret");
    assert!(matches!(barrier.decrypt("logical/y", &record), Err(BarrierError::Damaged { .. })));
    let mut other_version = record.to_vec();
    other_version[0] = 2;
    assert!(matches!(barrier.decrypt("logical/x", &other_version), Err(BarrierError::Damaged { .. })));
    let mut other_term = record.to_vec();
    other_term[4] = 9;
    let error = barrier.decrypt("logical/x", &other_term).expect_err("refused");
    assert_eq!(error, BarrierError::UnknownTerm { path: "logical/x".to_owned(), term: 9 });
    assert!(barrier.decrypt("logical/x", &[1, 0]).is_err());
    assert_ne!(barrier.encrypt("logical/x", b"secret").expect("encrypted"), record, "nonces differ");
    assert_eq!(barrier.status().encryptions, 2);
}

#[test]
fn the_same_keys_in_another_cluster_open_nothing() {
    let first = barrier("cluster-a", 1);
    let keyring = first.key_records().expect("records").keyring;
    let open = |cluster: &str, root: u8| {
        Barrier::open(cluster.to_owned(), Arc::new(SystemRandom), SecretBytes::new(vec![root; 32]), &keyring)
    };
    let again = open("cluster-a", 1).expect("opened");
    let record = first.encrypt("a", b"x").expect("encrypted");
    assert_eq!(again.decrypt("a", &record).expect("decrypted").expose(), b"x");
    assert!(open("cluster-b", 1).is_err() && open("cluster-a", 2).is_err());
}

#[test]
fn rotation_keeps_old_records_readable_and_followers_refresh() {
    let active = barrier("c", 1);
    let follower = Barrier::open(
        "c".to_owned(),
        Arc::new(SystemRandom),
        SecretBytes::new(vec![1; 32]),
        &active.key_records().expect("records").keyring,
    )
    .expect("opened");
    let old = active.encrypt("a", b"old").expect("encrypted");
    let stored = active.key_records().expect("records");
    let records = |keyring: Bytes| KeyRecords { keyring, ..stored.clone() };
    let (record, keys) = active.rotate(&stored, UnixMillis(2)).expect("rotated");
    assert_eq!(active.status().term, 1, "not before it is committed");
    active.install(keys);
    assert_eq!(
        (active.status().term, active.status().installed, active.status().encryptions),
        (2, UnixMillis(2), 0)
    );
    active.refresh(&stored).expect("opened");
    assert_eq!(active.status().term, 2, "an older keyring is not taken up");
    let new = active.encrypt("a", b"new").expect("encrypted");
    assert_eq!(active.decrypt("a", &old).expect("decrypted").expose(), b"old");
    assert!(matches!(follower.decrypt("a", &new), Err(BarrierError::UnknownTerm { term: 2, .. })));
    follower.refresh(&records(record)).expect("refreshed");
    assert_eq!(follower.decrypt("a", &new).expect("decrypted").expose(), b"new");
    assert!(follower.refresh(&records("rubbish".into())).is_err());
    assert_eq!(
        follower.decrypt("a", &new).expect("decrypted").expose(),
        b"new",
        "a failed refresh changes nothing"
    );
}

/// A writable ledger over a store that holds nothing but a head.
async fn ledger() -> Arc<TestLedger> {
    let backend = InmemBackend::new();
    let head = Head {
        cluster: "c".into(),
        lock: LockName { kind: "inmem".to_owned(), namespace: String::new(), name: "vault".to_owned() }
            .into(),
        epoch: 1,
        seq: 1,
        batch_id: BatchId::new(&SystemRandom),
        node: "node".into(),
        format: FORMAT,
        time: UnixMillis(1),
    };
    assert_eq!(backend.commit(None, &head, &[]).await, Commit::Committed);
    TestLedger::new(backend, Arc::new(ManualClock::default()))
}

fn secret(text: &str) -> SecretBytes {
    SecretBytes::new(text.as_bytes().to_vec())
}

#[tokio::test]
async fn a_transaction_reads_a_key_once_and_says_the_same_of_it_to_the_end() {
    let ledger = ledger().await;
    let barrier = Arc::new(barrier("c", 1));
    let begin = || BarrierTransaction::new(ledger.clone(), Arc::clone(&barrier), Consistency::Committed);
    let put = async |value: &str| {
        let transaction = begin();
        transaction.put("a", secret(value)).unwrap();
        ledger.submit(transaction.finish().unwrap()).await.unwrap();
    };
    put("first").await;
    let reader = begin();
    assert!(reader.contains("a").await.unwrap() && !reader.contains("b").await.unwrap());
    put("second").await;
    assert_eq!(reader.get("a").await.unwrap().unwrap().expose(), b"first");
    assert!(!reader.is_torn());
    reader.delete("a").unwrap();
    assert!(!reader.contains("a").await.unwrap());
    reader.put("a", secret("own")).unwrap();
    assert!(reader.contains("a").await.unwrap());
    let error = ledger.submit(reader.finish().unwrap()).await.unwrap_err();
    assert_eq!(error, SubmitError::Conflict, "what it read has changed");
    assert_eq!(begin().get("a").await.unwrap().unwrap().expose(), b"second");
}

#[tokio::test]
async fn a_transaction_sees_its_own_writes_and_nothing_is_stored_before_the_end() {
    let ledger = ledger().await;
    let barrier = Arc::new(barrier("c", 1));
    let begin =
        || BarrierTransaction::new(Arc::clone(&ledger) as _, Arc::clone(&barrier), Consistency::Pending);
    let first = begin();
    assert!(first.get("t/a").await.expect("read").is_none() && !first.has_writes());
    first.put("t/a", secret("1")).expect("put");
    assert_eq!(first.get("t/a").await.expect("read").expect("value").expose(), b"1");
    assert!(begin().get("t/a").await.expect("read").is_none());
    ledger.submit(first.finish().expect("finished")).await.expect("submitted");
    let second = begin();
    assert_eq!(second.get("t/a").await.expect("read").expect("value").expose(), b"1");
    second.delete("t/a").expect("deleted");
    assert!(second.get("t/a").await.expect("read").is_none());
    assert!(second.keys("t/", None, 9).await.expect("listed").is_empty());
    second.discard_writes();
    assert!(second.get("t/a").await.expect("read").is_some());
    let transaction = second.finish().expect("finished");
    assert!(transaction.reads.contains_key("t/a") && transaction.lists.contains_key("t/"));
    ledger.set_writable(false);
    assert_eq!(begin().put("t/a", secret("2")), Err(BarrierError::NotWritable));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn lists_merge_stored_and_own_keys_page_by_page(
        stored in proptest::collection::btree_set("[ab]{1,2}(/[ab]{1,2}){0,2}", 0..14),
        own in proptest::collection::btree_map("[ab]{1,2}(/[ab]{1,2}){0,2}", any::<bool>(), 0..10),
        limit in 1usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let ledger = ledger().await;
            let barrier = Arc::new(barrier("c", 1));
            let begin = || BarrierTransaction::new(Arc::clone(&ledger) as _, Arc::clone(&barrier), Consistency::Pending);
            let transaction = begin();
            for key in &stored {
                transaction.put(&format!("t/{key}"), secret("s")).expect("put");
            }
            ledger.submit(transaction.finish().expect("finished")).await.expect("submitted");
            let transaction = begin();
            let mut model: BTreeMap<String, ()> = stored.iter().map(|key| (key.clone(), ())).collect();
            for (key, kept) in &own {
                let path = format!("t/{key}");
                if *kept {
                    transaction.put(&path, secret("o")).expect("put");
                    model.insert(key.clone(), ());
                } else {
                    transaction.delete(&path).expect("deleted");
                    model.remove(key);
                }
            }
            let mut keys = Vec::new();
            loop {
                let after: Option<String> = keys.last().cloned();
                let page = transaction.keys("t/", after.as_deref(), limit).await.expect("listed");
                if page.is_empty() { break }
                assert!(page.len() <= limit);
                keys.extend(page);
            }
            let expected: Vec<String> = model.keys().map(|key| format!("t/{key}")).collect();
            assert_eq!(keys, expected);
            let mut names = Vec::new();
            loop {
                let after: Option<String> = names.last().cloned();
                let page = transaction.names("t/", after.as_deref(), limit).await.expect("listed");
                if page.is_empty() { break }
                names.extend(page);
            }
            let mut expected: Vec<String> = model
                .keys()
                .map(|key| key.split_inclusive('/').next().expect("segment").to_owned())
                .collect();
            expected.dedup();
            assert_eq!(names, expected);
        });
    }
}
