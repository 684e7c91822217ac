//! What the tests share: a server and a cluster, a path for each store, and a writer.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdfast::base::clock::UnixMillis;
use holdfast::base::random::SystemRandom;
use holdfast::config::{ClientTls, ConsulStorage, Credential};
use holdfast::vault::physical::consul::{ConsulBackend, ConsulRegister, open};
use holdfast::vault::physical::{BatchId, FORMAT, Head, LockName, Op};
use tokio::sync::OnceCell;

use crate::consul_server::Consul;
pub use crate::steps::{event, next_head, put, read, settle, until};

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
        cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
        lock: LockName { kind: "consul".to_owned(), namespace: "vault".to_owned(), name: "lock".to_owned() }
            .into(),
        epoch: 1,
        seq: 1,
        batch_id: BatchId::new(&SystemRandom),
        node: "vault-0".into(),
        format: FORMAT,
        time: UnixMillis(1_700_000_000_000),
    }
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
