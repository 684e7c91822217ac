//! What the tests share: one API server, a namespace for each store, and a writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdfast::base::clock::{SystemClock, UnixMillis};
use holdfast::base::random::SystemRandom;
use holdfast::crd::{VaultStoreHead, VaultStoreSegment};
use holdfast::k8s::client::Clients;
use holdfast::vault::physical::kubernetes::{KubernetesBackend, Settings};
use holdfast::vault::physical::{Backend, BatchId, Commit, FORMAT, Head, LockName, Op};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use tokio::sync::OnceCell;

use super::server;
use crate::apiserver::ApiServer;
pub use crate::steps::{event, next_head, put, read, until};

/// How long anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

static SERVER: OnceCell<ApiServer> = OnceCell::const_new();
static NAMES: AtomicU32 = AtomicU32::new(0);

/// The API server of all tests that leave it alone.
pub async fn common_server() -> &'static ApiServer {
    SERVER.get_or_init(server::start).await
}

/// A namespace with room for one store.
pub struct World {
    /// With all rights.
    pub client: Client,
    /// As a server has them.
    pub clients: Clients,
    /// Of the store.
    pub settings: Settings,
}

impl World {
    /// A new namespace on the common API server.
    pub async fn new() -> Self {
        Self::on(common_server().await).await
    }

    /// A new namespace on `server`.
    pub async fn on(server: &ApiServer) -> Self {
        let name = format!("store-{}", NAMES.fetch_add(1, Ordering::Relaxed));
        let clients = server::clients(server).await;
        let client = clients.requests.clone();
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.clone()), ..Default::default() },
            ..Default::default()
        };
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("a namespace");
        Self { client, clients, settings: Settings::new(name, "vault") }
    }

    /// An instance of the store, as another node would have it.
    pub fn open(&self) -> KubernetesBackend {
        self.open_with(self.settings.clone())
    }

    pub fn open_with(&self, settings: Settings) -> KubernetesBackend {
        KubernetesBackend::start(&self.clients, settings, Arc::new(SystemClock), Arc::new(SystemRandom))
    }

    pub fn heads(&self) -> Api<VaultStoreHead> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    pub fn segments(&self) -> Api<VaultStoreSegment> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    pub async fn head_object(&self) -> VaultStoreHead {
        self.heads().get("vault").await.expect("a head")
    }

    pub async fn segment_names(&self) -> Vec<String> {
        let list = self.segments().list_metadata(&ListParams::default()).await.expect("segments");
        list.items.into_iter().filter_map(|object| object.metadata.name).collect()
    }
}

pub fn first_head() -> Head {
    Head {
        cluster: "8a7c1c5e-3c1f-4d63-9b55-6a0a1f0c7e11".into(),
        lock: LockName { kind: "kubernetes".to_owned(), namespace: "n".to_owned(), name: "vault".to_owned() }
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
    pub backend: KubernetesBackend,
    pub head: Head,
}

impl Writer {
    /// Initialises the store.
    pub async fn init(backend: KubernetesBackend) -> Self {
        let head = first_head();
        settle(&backend, None, &head, &[]).await.expect("init");
        Self { backend, head }
    }

    /// Claims the store's present head.
    pub async fn claim(backend: KubernetesBackend) -> Self {
        let before = backend.check().await.expect("a check").expect("a head");
        let head = Head { epoch: before.epoch + 1, node: "vault-1".into(), ..next_head(&before) };
        settle(&backend, Some(&before), &head, &[]).await.expect("a claim");
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
    backend: &KubernetesBackend,
    expected: Option<&Head>,
    next: &Head,
    ops: &[Op],
) -> Result<(), Commit> {
    let sending = async {
        loop {
            match backend.commit(expected, next, ops).await {
                Commit::Committed => return Ok(()),
                Commit::Unknown { .. } => tokio::time::sleep(Duration::from_millis(100)).await,
                other => return Err(other),
            }
        }
    };
    tokio::time::timeout(PATIENCE, sending).await.expect("a known outcome")
}
