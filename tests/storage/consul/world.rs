//! What the tests share: a server and a cluster, a path for each store, and a writer.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast::base::clock::UnixMillis;
use holdfast::base::random::SystemRandom;
use holdfast::config::{ClientTls, ConsulStorage, Credential};
use holdfast::vault::physical::consul::{ConsulBackend, ConsulRegister, open};
use holdfast::vault::physical::{Backend, BatchId, Commit, FORMAT, Feed, FeedEvent, Head, LockName, Op};
use tokio::sync::OnceCell;

use crate::consul_server::Consul;

/// How long anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What a node needs to be allowed: nothing but its keys.
pub const RULES: &str = "key_prefix \"store-\" { policy = \"write\" }";

static SINGLE: OnceCell<Consul> = OnceCell::const_new();
static CLUSTER: OnceCell<(Consul, String)> = OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);

/// The server of all tests that leave it alone.
pub async fn common_single() -> &'static Consul {
    SINGLE.get_or_init(Consul::single).await
}

/// The cluster of all tests that leave it alone, and a token with the rights of a node.
pub async fn common_cluster() -> &'static (Consul, String) {
    CLUSTER
        .get_or_init(|| async {
            let cluster = Consul::cluster().await;
            let token = cluster.token("node", RULES).await;
            (cluster, token)
        })
        .await
}

/// A path that nobody used before.
pub fn fresh_path() -> String {
    format!("store-{}/", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// How to reach a new store on `consul`.
pub fn config(consul: &Consul, token: Option<&str>) -> ConsulStorage {
    let addresses = consul.addresses();
    let tls = if addresses.iter().any(|address| address.starts_with("https")) {
        ClientTls {
            ca_file: Some(consul.file("ca.pem")),
            cert_file: Some(consul.file("client.pem")),
            key_file: Some(consul.file("client.key")),
            server_name: None,
        }
    } else {
        ClientTls::default()
    };
    ConsulStorage {
        addresses,
        path: fresh_path(),
        token: token.map(|token| Credential::Text(token.into())),
        tls,
        request_timeout: Duration::from_secs(5),
    }
}

/// An instance of a store, as another node would have it.
pub async fn backend(config: &ConsulStorage) -> ConsulBackend {
    open(config).await.expect("a storage").0
}

/// An instance of a lock.
pub async fn register(config: &ConsulStorage) -> ConsulRegister {
    open(config).await.expect("a lock").1
}

pub fn first_head() -> Head {
    Head {
        cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".to_owned(),
        lock: LockName { kind: "consul".to_owned(), namespace: "vault".to_owned(), name: "lock".to_owned() },
        epoch: 1,
        seq: 1,
        batch_id: BatchId::new(&SystemRandom),
        node: "vault-0".to_owned(),
        format: FORMAT,
        time: UnixMillis(1_700_000_000_000),
    }
}

pub fn next_head(head: &Head) -> Head {
    Head { seq: head.seq + 1, batch_id: BatchId::new(&SystemRandom), ..head.clone() }
}

pub fn put(key: &str, value: impl Into<Bytes>) -> Op {
    Op::Put { key: key.to_owned(), value: value.into() }
}

/// An active node, as far as the storage sees it.
pub struct Writer {
    pub backend: ConsulBackend,
    pub head: Head,
}

impl Writer {
    /// Initialises the store.
    pub async fn init(backend: ConsulBackend) -> Self {
        let head = first_head();
        settle(&backend, None, &head, &[]).await.expect("init");
        Self { backend, head }
    }

    pub async fn write(&mut self, ops: &[Op]) {
        let next = next_head(&self.head);
        settle(&self.backend, Some(&self.head), &next, ops).await.expect("a commit");
        self.head = next;
    }
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
                Commit::Unknown { .. } => tokio::time::sleep(Duration::from_millis(100)).await,
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
