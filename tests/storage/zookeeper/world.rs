//! What the tests share: servers, a path for each store, and a writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast::base::clock::UnixMillis;
use holdfast::base::random::SystemRandom;
use holdfast::config::{self, Environment, StorageConfig, ZookeeperStorage};
use holdfast::vault::physical::zookeeper::{ZookeeperBackend, ZookeeperRegister, open, open_lock};
use holdfast::vault::physical::{Backend, BatchId, Commit, FORMAT, Head, LockName, Op, Unusable};
use tokio::sync::OnceCell;

use super::server::Ensemble;

/// How long anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

static SINGLE: OnceCell<Ensemble> = OnceCell::const_new();
static THREE: OnceCell<Ensemble> = OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);

/// The one server of all tests that leave it alone.
pub async fn single() -> &'static Ensemble {
    SINGLE.get_or_init(|| blocking(Ensemble::single)).await
}

/// The ensemble of all tests that leave it alone.
pub async fn three() -> &'static Ensemble {
    THREE.get_or_init(|| blocking(Ensemble::three)).await
}

/// Does something that waits, apart from the tests' own threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("work that ends")
}

/// A path that no other test uses.
pub fn fresh_path() -> String {
    format!("/vault-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// The configuration of a `storage` block with these lines.
pub fn storage(lines: &str) -> ZookeeperStorage {
    let text = format!("listener \"tcp\" {{ tls_disable = true }}\nstorage \"zookeeper\" {{\n{lines}\n}}");
    let config = config::parse(&[("holdfast.hcl", &text)], &Environment::fixed([]));
    match config.unwrap_or_else(|problems| panic!("{problems}")).storage {
        StorageConfig::Zookeeper(storage) => storage,
        other => panic!("{other:?}"),
    }
}

/// One store.
#[derive(Debug, Clone)]
pub struct World {
    pub config: ZookeeperStorage,
}

impl World {
    /// A new path on all servers of `ensemble`.
    pub fn on(ensemble: &Ensemble) -> Self {
        Self::at(&ensemble.addresses(), &ensemble.settings())
    }

    /// A new path on the servers at `addresses`.
    pub fn at(addresses: &str, settings: &str) -> Self {
        let path = fresh_path();
        Self { config: storage(&format!("address = {addresses:?}\npath = {path:?}\n{settings}")) }
    }

    /// The same store through one server alone.
    pub fn through(&self, ensemble: &Ensemble, index: usize) -> Self {
        let address = ensemble.address(index);
        let one = storage(&format!("address = {address:?}"));
        Self { config: ZookeeperStorage { addresses: one.addresses, ..self.config.clone() } }
    }

    pub async fn try_open(&self) -> Result<(ZookeeperBackend, ZookeeperRegister), Unusable> {
        open(&self.config).await
    }

    /// An instance of the store, as another node would have it.
    pub async fn open(&self) -> ZookeeperBackend {
        self.try_open().await.expect("a store").0
    }

    pub async fn lock(&self) -> ZookeeperRegister {
        open_lock(&self.config).await.expect("a lock")
    }
}

pub fn first_head() -> Head {
    Head {
        cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
        lock: LockName {
            kind: "zookeeper".to_owned(),
            namespace: "/vault".to_owned(),
            name: "lock".to_owned(),
        }
        .into(),
        epoch: 1,
        seq: 1,
        batch_id: BatchId::new(&SystemRandom),
        node: "vault-0".into(),
        format: FORMAT,
        time: UnixMillis(1_700_000_000_000),
    }
}

pub fn next_head(head: &Head) -> Head {
    Head { seq: head.seq + 1, batch_id: BatchId::new(&SystemRandom), ..head.clone() }
}

pub fn claim_head(head: &Head) -> Head {
    Head { epoch: head.epoch + 1, node: "vault-1".into(), ..next_head(head) }
}

pub fn put(key: &str, value: impl Into<Bytes>) -> Op {
    Op::Put { key: key.to_owned(), value: value.into() }
}

pub fn delete(key: &str) -> Op {
    Op::Delete { key: key.to_owned() }
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
        settle(backend.as_ref(), None, &head, &[]).await;
        Self { backend, head }
    }

    pub async fn write(&mut self, ops: &[Op]) {
        let next = next_head(&self.head);
        settle(self.backend.as_ref(), Some(&self.head), &next, ops).await;
        self.head = next;
    }

    pub async fn claim(&mut self) {
        let next = claim_head(&self.head);
        settle(self.backend.as_ref(), Some(&self.head), &next, &[]).await;
        self.head = next;
    }
}

/// Sends a batch until it is known to be stored.
pub async fn settle(backend: &dyn Backend, expected: Option<&Head>, next: &Head, ops: &[Op]) {
    let sending = async {
        loop {
            match backend.commit(expected, next, ops).await {
                Commit::Committed => return,
                Commit::Fenced { current } if current.as_ref() == Some(next) => return,
                Commit::Unknown { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("commit {}: {other:?}", next.seq),
            }
        }
    };
    tokio::time::timeout(PATIENCE, sending).await.expect("a known outcome");
}

/// The value of `key`.
pub async fn read(backend: &dyn Backend, key: &str) -> Option<Bytes> {
    backend.get(key).await.expect("a read").value
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}
