//! Fills the storage of a vault whose servers have ended, in the form in which the product writes: entries of KV version 2
//! and service tokens with leases. One of each was written by a server; the others are made after them, encrypted by the
//! product's barrier and committed at the head by its storage, as many at once as it takes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast::base::clock::{Clock, SystemClock};
use holdfast::base::id;
use holdfast::base::random::{Random, SystemRandom};
use holdfast::base::secret::SecretBytes;
use holdfast::config::Environment;
use holdfast::crypto::hash::hmac_sha256;
use holdfast::vault::barrier::{Barrier, KEYRING_PATH};
use holdfast::vault::node::{BackendTable, Surroundings};
use holdfast::vault::physical::{Backend, BatchId, Commit, Head, Op};
use holdfast::vault::seal::{Wrapped, unwrap_by_shares};
use serde_json::Value;
use tokio::sync::mpsc;

/// The secret after which others are made.
pub const MODEL: &str = "model";

/// The token that is made as number `number`.
pub fn token(number: usize) -> String {
    format!("hvs.{:0>24}", format!("Fill{number}"))
}

/// The secret that is made as number `number`.
pub fn secret(number: usize) -> String {
    format!("fill/{:03}/{number}", number % 1000)
}

/// The parts that make records.
pub struct Filler {
    stanza: String,
    random: Arc<dyn Random>,
    barrier: Barrier,
    salt: Vec<u8>,
    entry: Vec<(String, String)>,
    lease: Vec<(String, String)>,
    /// Identifiers in `entry` and `lease`.
    entry_id: String,
    names: Names,
}

/// What differs from token to token.
struct Names {
    key: String,
    accessor: String,
    accessor_key: String,
    cubbyhole: String,
    expires: u64,
}

async fn open(stanza: &str, random: &Arc<dyn Random>) -> Arc<dyn Backend> {
    let listener = "listener \"tcp\" { address = \"127.0.0.1:0\" tls_disable = true }";
    let text = format!("{stanza}\n{listener}\n");
    let config = holdfast::config::parse(&[("fill", &text)], &Environment::process()).unwrap();
    let around = Surroundings { clock: Arc::new(SystemClock), random: Arc::clone(random) };
    BackendTable::default().storage(&config.storage, &around).await.unwrap().backend
}

impl Filler {
    /// Reads the models from the storage of `stanza`, opened by the unseal key. There is little else in it.
    pub async fn new(stanza: &str, unseal_key: &str, model_token: &str) -> Self {
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let backend = open(stanza, &random).await;
        let head = backend.check().await.unwrap().expect("a vault");
        let get = async |key: &str| backend.get(key).await.unwrap().value.expect("a record");
        let wrapped: Wrapped = serde_json::from_slice(&get("core/seal-keys").await).unwrap();
        let share = SecretBytes::new(id::unhex(unseal_key).unwrap());
        let root = unwrap_by_shares(&head.cluster, &wrapped, &[share]).unwrap();
        let keyring = get(KEYRING_PATH).await;
        let barrier = Barrier::open(head.cluster.to_string(), Arc::clone(&random), root, &keyring).unwrap();
        let plain = async |key: &str| {
            let record = get(key).await;
            String::from_utf8(barrier.decrypt(key, &record).unwrap().expose().to_vec()).unwrap()
        };
        let json = async |key: &str| serde_json::from_str::<Value>(&plain(key).await).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let salt = id::unhex(json("core/cluster").await["token_salt"].as_str().unwrap()).unwrap();

        let all = backend.list("", None, 1000).await.unwrap().keys;
        let with = |part: &str| all.iter().filter(|key| key.contains(part)).cloned().collect::<Vec<_>>();
        let metadata = with(&format!("/metadata/{MODEL}")).remove(0);
        let entry_id = text(&json(&metadata).await["id"]);
        let key = id::hex(&hmac_sha256(&salt, model_token.as_bytes()));
        let token = json(&format!("sys/token/id/{key}")).await;
        let accessor = text(&token["accessor"]);
        let names = Names {
            accessor_key: id::hex(&hmac_sha256(&salt, accessor.as_bytes())),
            cubbyhole: text(&token["cubbyhole_id"]),
            expires: token["expires"].as_u64().unwrap(),
            accessor,
            key,
        };
        let (mut entry, mut lease) = (Vec::new(), Vec::new());
        for key in [vec![metadata], with(&format!("/versions/{entry_id}/"))].concat() {
            let plain = plain(&key).await;
            entry.push((key, plain));
        }
        for key in [with(&names.key), with(&names.accessor_key)].concat() {
            let plain = plain(&key).await;
            lease.push((key, plain));
        }
        assert_eq!((entry.len(), lease.len()), (2, 4), "{entry:?}");
        let stanza = stanza.to_owned();
        Self { stanza, random, barrier, salt, entry, lease, entry_id, names }
    }

    /// Stores the secrets and tokens of these numbers, as a leader: after a claim, as every leader makes it. Returns the
    /// bytes of data that are in the storage then, where it knows.
    pub async fn fill(&self, secrets: Range<usize>, tokens: Range<usize>) -> Option<u64> {
        let backend = open(&self.stanza, &self.random).await;
        let before = backend.check().await.unwrap().expect("a vault");
        let node = "filler_0_0".into();
        let head = Head { epoch: before.epoch + 1, node, ..next(&before, &*self.random) };
        commit(&*backend, &before, &head, &[]).await;
        let limits = backend.limits();
        let (sender, batches) = mpsc::channel::<Vec<Op>>(4);
        let committer =
            tokio::spawn(commit_all(Arc::clone(&backend), Arc::clone(&self.random), head, batches));
        let (mut ops, mut bytes) = (Vec::new(), 0);
        let all = secrets.map(|number| (true, number)).chain(tokens.map(|number| (false, number)));
        for (is_secret, number) in all {
            let records = if is_secret { self.secret(number) } else { self.token(number) };
            let size: usize = records.iter().map(Op::size_bytes).sum();
            let is_full = ops.len() + records.len() > limits.operations.min(500)
                || bytes + size > (limits.commit_bytes * 3 / 4).min(256 << 10);
            if is_full {
                sender.send(std::mem::take(&mut ops)).await.expect("a committer");
                bytes = 0;
            }
            ops.extend(records);
            bytes += size;
        }
        sender.send(ops).await.expect("a committer");
        drop(sender);
        committer.await.unwrap();
        backend.used_bytes()
    }

    fn put(&self, key: String, plain: &str) -> Op {
        let value: Bytes = self.barrier.encrypt(&key, plain.as_bytes()).unwrap();
        Op::Put { key, value }
    }

    fn secret(&self, number: usize) -> Vec<Op> {
        let own = format!("{number:0>width$}", width = self.entry_id.len());
        let model = format!("/metadata/{MODEL}");
        let one = |(key, plain): &(String, String)| {
            let key =
                key.replace(&self.entry_id, &own).replace(&model, &format!("/metadata/{}", secret(number)));
            self.put(key, &plain.replace(&self.entry_id, &own))
        };
        self.entry.iter().map(one).collect()
    }

    fn token(&self, number: usize) -> Vec<Op> {
        let salted = |text: &str| id::hex(&hmac_sha256(&self.salt, text.as_bytes()));
        let named = |kind: &str, width: usize| format!("{:0>width$}", format!("{kind}{number}"));
        let names = &self.names;
        let accessor = named("A", names.accessor.len());
        let expires = names.expires + u64::try_from(number).unwrap();
        let exchanged = [
            (names.key.clone(), salted(&token(number))),
            (names.accessor_key.clone(), salted(&accessor)),
            (names.accessor.clone(), accessor),
            (names.cubbyhole.clone(), named("C", names.cubbyhole.len())),
            (names.expires.to_string(), expires.to_string()),
        ];
        let exchange = |text: &str| {
            exchanged.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old.as_str(), new))
        };
        self.lease.iter().map(|(key, plain)| self.put(exchange(key), &exchange(plain))).collect()
    }
}

fn next(head: &Head, random: &dyn Random) -> Head {
    let time = SystemClock.unix().max(head.time);
    Head { seq: head.seq + 1, batch_id: BatchId::new(random), time, ..head.clone() }
}

async fn commit_all(
    backend: Arc<dyn Backend>,
    random: Arc<dyn Random>,
    mut head: Head,
    mut batches: mpsc::Receiver<Vec<Op>>,
) {
    while let Some(ops) = batches.recv().await {
        let after = next(&head, &*random);
        commit(&*backend, &head, &after, &ops).await;
        head = after;
    }
}

async fn commit(backend: &dyn Backend, expected: &Head, next: &Head, ops: &[Op]) {
    for _ in 0..100 {
        match backend.commit(Some(expected), next, ops).await {
            Commit::Committed => return,
            Commit::Fenced { current: Some(current) } if current == *next => return,
            Commit::Unknown { .. } => tokio::time::sleep(Duration::from_millis(100)).await,
            other => panic!("{other:?}"),
        }
    }
    panic!("the storage does not take a batch");
}
