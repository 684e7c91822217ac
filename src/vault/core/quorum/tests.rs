//! Keys that change, on several nodes and in one commit, and answers that are asked for again.

use std::sync::Arc;

use crate::base::clock::UnixMillis;
use crate::base::random::SystemRandom;
use crate::base::secret::SecretBytes;
use crate::vault::barrier::{Barrier, BarrierTransaction, KEYRING_PATH, KeyRecords, Keyring};
use crate::vault::core::Core;
use crate::vault::core::testing::{Vault, core_with, sealed};
use crate::vault::logical::Operation;
use crate::vault::physical::{Consistency, Ledger};
use crate::vault::seal::ShamirSeal;
use serde_json::json;

/// Another node of the same vault.
async fn second(vault: &Vault, key: &SecretBytes) -> Arc<Core> {
    let core = core_with(Arc::new(ShamirSeal), Arc::clone(&vault.clock));
    core.unseal(&vault.backend, key.clone()).await.expect("unsealed");
    core
}

fn term(core: &Core) -> u32 {
    core.open.load_full().expect("unsealed").barrier.status().term
}

#[tokio::test]
async fn a_new_leader_knows_the_keys_of_the_one_before() {
    let (first, answer) = sealed(1, 1).await;
    let key = &answer.keys[0];
    first.core.unseal(&first.backend, key.clone()).await.expect("unsealed");
    let other = second(&first, key).await;
    assert_eq!(first.ask(&first.root, Operation::Update, "sys/rotate", json!({})).await.0, 204);
    assert_eq!(first.ask(&first.root, Operation::Update, "secret/a", json!({"n": 1})).await.0, 204);
    // Nothing that the other node has read was encrypted by the new key. Now it leads, and rotates.
    let next = Vault { core: Arc::clone(&other), ledger: Arc::clone(&first.ledger), ..first };
    next.core.promoted(Arc::clone(&next.ledger) as _).await.expect("promoted");
    assert_eq!(term(&next.core), 2);
    assert_eq!(next.ask(&next.root, Operation::Update, "sys/rotate", json!({})).await.0, 204);
    let third = second(&next, key).await;
    assert_eq!(term(&third), 3);
    let last = Vault { core: third, ..next };
    let (status, body) = last.ask(&last.root, Operation::Read, "secret/a", json!({})).await;
    assert_eq!((status, &body["data"]["n"]), (200, &json!(1)));
}

#[tokio::test]
async fn a_rotation_builds_on_what_is_stored_and_not_on_memory() {
    let (vault, answer) = sealed(1, 1).await;
    vault.core.unseal(&vault.backend, answer.keys[0].clone()).await.expect("unsealed");
    let other = second(&vault, &answer.keys[0]).await;
    assert_eq!(vault.ask(&vault.root, Operation::Update, "sys/rotate", json!({})).await.0, 204);
    let barrier = Arc::clone(&other.open.load_full().expect("unsealed").barrier);
    let ledger: Arc<dyn Ledger> = Arc::clone(&vault.ledger) as _;
    let transaction = BarrierTransaction::new(ledger, Arc::clone(&barrier), Consistency::Pending);
    let stored = transaction.key_records().await.expect("read");
    let (record, keys) = barrier.rotate(&stored, UnixMillis(9)).expect("rotated");
    barrier.install(keys);
    assert_eq!(barrier.status().term, 3, "beside term 2, which this node had not known");
    let root = barrier.root_key();
    let reader = Barrier::open(barrier.cluster().to_owned(), Arc::new(SystemRandom), root, &record);
    let written =
        vault.core.open.load_full().expect("unsealed").barrier.encrypt("a", b"x").expect("encrypted");
    assert_eq!(reader.expect("opened").decrypt("a", &written).expect("decrypted").expose(), b"x");
}

#[test]
fn a_rotation_and_a_new_root_key_in_one_commit_are_both_followed() {
    let ring = Keyring::generate(&SystemRandom, UnixMillis(1)).expect("keyring");
    let barrier = Barrier::new("c".to_owned(), Arc::new(SystemRandom), SecretBytes::new(vec![1; 32]), ring);
    let first = barrier.key_records().expect("records");
    let open = |root: SecretBytes, record: &[u8]| {
        Barrier::open("c".to_owned(), Arc::new(SystemRandom), root, record).expect("opened")
    };
    let follower = open(barrier.root_key(), &first.keyring);
    let (keyring, of_rotation) = barrier.rotate(&first, UnixMillis(2)).expect("rotated");
    let new = barrier.rekey(&KeyRecords { keyring, ..first.clone() }).expect("a new root key");
    // The later one is installed first: the earlier one must not take its place.
    barrier.install(new.keys);
    barrier.install(of_rotation);
    assert_eq!(barrier.root_key(), new.root);
    assert_eq!(barrier.status().term, 2);
    let written = barrier.encrypt("a", b"x").expect("encrypted");
    follower.refresh(&new.records).expect("followed");
    assert_eq!(follower.decrypt("a", &written).expect("decrypted").expose(), b"x");
    assert_eq!(follower.root_key(), new.root);
    let later = open(new.root, &new.records.keyring);
    assert_eq!(later.decrypt("a", &written).expect("decrypted").expose(), b"x");
    let nothing = KeyRecords { root_key: "x".into(), ..first };
    assert!(follower.refresh(&nothing).is_err(), "the old root key is forgotten");
}

#[tokio::test]
async fn a_keyring_that_waits_for_its_commit_is_not_taken_up() {
    let vault = Vault::unsealed().await;
    let open = vault.core.open.load_full().expect("unsealed");
    let ledger: Arc<dyn Ledger> = Arc::clone(&vault.ledger) as _;
    let begin =
        || BarrierTransaction::new(Arc::clone(&ledger), Arc::clone(&open.barrier), Consistency::Pending);
    let transaction = begin();
    let stored = transaction.key_records().await.expect("read");
    let (record, _) = open.barrier.rotate(&stored, UnixMillis(9)).expect("rotated");
    transaction.put_plain(KEYRING_PATH, record).expect("put");
    transaction.refresh_keys().await.expect("refreshed");
    assert_eq!(open.barrier.status().term, 1);
    assert_ne!(transaction.key_records().await.expect("read"), stored, "its own write is seen");
}
