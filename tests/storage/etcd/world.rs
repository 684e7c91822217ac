//! What the tests share: servers, instances on them, and a writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdfast::base::clock::UnixMillis;
use holdfast::base::random::SystemRandom;
use holdfast::config::{ClientTls, Credential, EtcdStorage};
use holdfast::vault::physical::etcd::{EtcdBackend, EtcdRegister, open};
use holdfast::vault::physical::{Backend, BatchId, Commit, FORMAT, Feed, FeedEvent, Head, LockName, Op};
use tokio::sync::OnceCell;

use crate::etcd_server::{Etcd, PASSWORD};
pub use crate::steps::{event, next_head, put, read, settle, until};

/// How long anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

static SINGLE: OnceCell<Etcd> = OnceCell::const_new();
static CLUSTER: OnceCell<Etcd> = OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);

/// Starts servers without holding up the other tests of this thread.
pub async fn started(start: impl FnOnce() -> Etcd + Send + 'static) -> Etcd {
    tokio::task::spawn_blocking(start).await.expect("etcd")
}

/// The one plain server of all tests that leave it alone.
pub async fn single() -> &'static Etcd {
    SINGLE.get_or_init(|| started(Etcd::single)).await
}

/// The cluster with TLS and users of all tests that leave it alone.
pub async fn cluster() -> &'static Etcd {
    CLUSTER.get_or_init(|| started(|| Etcd::cluster(&["/vault/"]))).await
}

/// A path that no other test uses.
pub fn new_path() -> String {
    format!("/vault/{}/", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// How `holdfast` reaches these servers, beginning with the member `first`.
pub fn settings(servers: &Etcd, path: &str, first: usize) -> EtcdStorage {
    let mut addresses = servers.addresses();
    let count = addresses.len();
    addresses.rotate_left(first % count);
    let tls = servers.pki.as_ref().map_or_else(ClientTls::default, |pki| ClientTls {
        ca_file: Some(pki.ca.clone()),
        cert_file: Some(pki.server.cert.clone()),
        key_file: Some(pki.server.key.clone()),
        server_name: None,
    });
    let has_users = servers.pki.is_some();
    EtcdStorage {
        addresses,
        path: path.to_owned(),
        username: has_users.then(|| Credential::Text("holdfast".into())),
        password: has_users.then(|| Credential::Text(PASSWORD.into())),
        tls,
        request_timeout: Duration::from_secs(5),
    }
}

/// Opens what must be usable.
pub async fn opened(settings: &EtcdStorage) -> (EtcdBackend, EtcdRegister) {
    open(settings).await.unwrap_or_else(|unusable| panic!("{unusable}"))
}

pub fn first_head() -> Head {
    Head {
        cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
        lock: LockName { kind: "etcd".to_owned(), namespace: "/vault/".to_owned(), name: "lock".to_owned() }
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
    pub backend: Arc<dyn Backend>,
    pub head: Head,
}

impl Writer {
    /// Initialises the store.
    pub async fn init(backend: impl Backend + 'static) -> Self {
        let backend: Arc<dyn Backend> = Arc::new(backend);
        let head = first_head();
        settle(backend.as_ref(), None, &head, &[]).await.expect("init");
        Self { backend, head }
    }

    /// Commits, whatever it takes.
    pub async fn write(&mut self, ops: &[Op]) {
        let next = next_head(&self.head);
        settle(self.backend.as_ref(), Some(&self.head), &next, ops).await.expect("a commit");
        self.head = next;
    }

    /// Sends one commit; the head moves if it is certain that it was stored.
    pub async fn send(&mut self, ops: &[Op]) -> Commit {
        let next = next_head(&self.head);
        let outcome = self.backend.commit(Some(&self.head), &next, ops).await;
        if outcome == Commit::Committed {
            self.head = next;
        }
        outcome
    }
}

/// The head of the record that must come next.
pub async fn recorded(feed: &mut dyn Feed) -> Head {
    match event(feed).await {
        FeedEvent::Record(record) => record.head,
        FeedEvent::Reset { head } => panic!("a gap, now at {head:?}"),
    }
}
