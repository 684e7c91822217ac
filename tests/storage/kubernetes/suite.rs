//! The public conformance suite.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast::base::clock::SystemClock;
use holdfast::vault::physical::conformance::{
    Lock, Locks, Report, Store, Stores, check_lock, check_storage, report_lock, report_storage,
};
use holdfast::vault::physical::kubernetes::LeaseRegister;
use holdfast::vault::physical::{Backend, HaBackend};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::server;
use super::world::World;
use crate::apiserver::ApiServer;
use crate::network::Network;
use holdfast::crd::VaultStoreHead;

struct Worlds {
    /// Whether the head object is there, and empty, before the store is initialised: as the operator leaves it.
    has_empty_head: bool,
}

#[async_trait]
impl Stores for Worlds {
    async fn create(&self) -> Box<dyn Store> {
        let world = World::new().await;
        if self.has_empty_head {
            let empty = VaultStoreHead::new("vault", Default::default());
            world.heads().create(&PostParams::default(), &empty).await.expect("an empty head");
        }
        Box::new(world)
    }
}

#[async_trait]
impl Store for World {
    async fn open(&self) -> Arc<dyn Backend> {
        Arc::new(World::open(self))
    }
}

/// Stores on an API server of their own, which can be stopped where it is, behind a network that can lose answers.
struct Outages(Arc<ApiServer>);

struct Outage {
    /// Past the network.
    direct: World,
    world: World,
    network: Arc<Network>,
    server: Arc<ApiServer>,
}

impl Outages {
    async fn outage(&self) -> Outage {
        let server = Arc::clone(&self.0);
        let direct = World::on(&server).await;
        let (_, port) = server.url.rsplit_once(':').expect("a port");
        let network = Network::to(&[port.parse().expect("a port")]).await;
        let [port] = network.ports()[..] else { panic!("one server has one link") };
        let clients = server::clients_through(&server, port).await;
        let world = World { clients, client: direct.client.clone(), settings: direct.settings.clone() };
        Outage { direct, world, network, server }
    }
}

#[async_trait]
impl Stores for Outages {
    async fn create(&self) -> Box<dyn Store> {
        Box::new(self.outage().await)
    }
}

#[async_trait]
impl Store for Outage {
    async fn open(&self) -> Arc<dyn Backend> {
        Arc::new(World::open(&self.world))
    }

    async fn lose_next_answer(&self) -> bool {
        self.network.lose_commit(Arc::new(World::open(&self.direct))).await;
        true
    }

    async fn fail(&self) -> bool {
        self.server.freeze();
        true
    }

    async fn heal(&self) {
        self.server.thaw();
    }
}

#[async_trait]
impl Locks for Outages {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(self.outage().await)
    }
}

#[async_trait]
impl Lock for Outage {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Lock::open(&self.world).await
    }

    async fn mark(&self) -> bool {
        self.world.mark().await
    }

    async fn is_marked(&self) -> bool {
        self.world.is_marked().await
    }

    async fn lose_next_answer(&self) -> bool {
        self.network.lose_swap(Arc::new(self.direct.register())).await;
        true
    }

    async fn fail(&self) -> bool {
        Store::fail(self).await
    }

    async fn heal(&self) {
        Store::heal(self).await;
    }
}

#[async_trait]
impl Locks for Worlds {
    async fn create(&self) -> Box<dyn Lock> {
        Box::new(World::new().await)
    }
}

impl World {
    fn register(&self) -> LeaseRegister {
        LeaseRegister::new(&self.clients, &self.settings.namespace, "vault", Arc::new(SystemClock))
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }
}

#[async_trait]
impl Lock for World {
    async fn open(&self) -> Arc<dyn HaBackend> {
        Arc::new(self.register())
    }

    async fn mark(&self) -> bool {
        let foreign = json!({
            "metadata": {"annotations": {"example.com/owner": "team-a"}, "labels": {"team": "a"}},
            "spec": {"strategy": "OldestEmulationVersion", "preferredHolder": "x"},
        });
        let patched = self.leases().patch("vault", &PatchParams::default(), &Patch::Merge(foreign)).await;
        patched.expect("a patched Lease");
        true
    }

    async fn is_marked(&self) -> bool {
        let lease = self.leases().get("vault").await.expect("a Lease");
        let annotations = lease.metadata.annotations.unwrap_or_default();
        let labels = lease.metadata.labels.unwrap_or_default();
        annotations.get("example.com/owner").is_some_and(|owner| owner == "team-a")
            && labels.get("team").is_some_and(|team| team == "a")
    }
}

/// Every law, those about outages included, over an API server of its own.
pub async fn reports() -> [Report; 2] {
    let outages = Outages(Arc::new(server::start().await));
    [report_storage("kubernetes", &outages).await, report_lock("Lease", &outages).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws() {
    assert_eq!(check_storage(&Worlds { has_empty_head: true }).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_keeps_the_laws_without_a_head_object() {
    assert_eq!(check_storage(&Worlds { has_empty_head: false }).await, vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_keeps_the_laws() {
    assert_eq!(check_lock(&Worlds { has_empty_head: false }).await, vec![]);
}
