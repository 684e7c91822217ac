//! The parts of a node, put together.

use std::sync::Arc;

use super::advertise::Advertised;
use super::backends::{BackendTable, OpenStorage, Surroundings};
use super::candidate::CoreCandidate;
use super::error::NodeError;
use super::identity;
use super::members::HaMembers;
use crate::api::VERSION;
use crate::base::clock::Clock;
use crate::base::random::Random;
use crate::base::task::Shutdown;
use crate::config::{Environment, SealConfig, ServerConfig};
use crate::vault::core::{Core, CoreParts, EngineTable};
use crate::vault::ha::{Ha, HaSettings};
use crate::vault::http::cluster::ClusterTls;
use crate::vault::http::lifecycle::Lifecycle;
use crate::vault::http::peer::Peers;
use crate::vault::http::pool::Pool;
use crate::vault::physical::{HaBackend, LockName};
use crate::vault::seal::{Seal, ShamirSeal, StaticKey, StaticSeal};
use crate::vault::{secrets, system};

/// The lock in use and the storage below it.
pub(super) struct Opened {
    pub(super) storage: OpenStorage,
    pub(super) lock: Option<Arc<dyn HaBackend>>,
    pub(super) ha_storage: Option<String>,
}

/// What a node is made of.
pub(super) struct Parts {
    pub(super) seal: Arc<dyn Seal>,
    pub(super) opened: Opened,
    pub(super) settings: HaSettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) cluster_tls: Arc<ClusterTls>,
}

/// Kernel and leadership of a node, sealed; leadership runs until `shutdown`.
pub(super) fn lifecycle(
    config: &ServerConfig,
    parts: Parts,
    pool: &Arc<Pool>,
    shutdown: &Shutdown,
) -> Arc<Lifecycle> {
    let Parts { seal, opened, settings, clock, random, cluster_tls } = parts;
    let core = Core::new(CoreParts {
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        engines: engines(),
        auth_methods: EngineTable::new(),
        kernel_engines: system::kernel_engines(),
        seal,
        cluster_name: config.cluster_name.clone().unwrap_or_default(),
        version: VERSION.to_owned(),
        audit: Arc::default(),
    });
    let peers = Arc::new(Peers::new(Arc::clone(pool), Arc::clone(&cluster_tls), settings.identity.clone()));
    let lock = opened.lock.as_ref().map_or_else(LockName::none, |lock| lock.name());
    let ha = Ha::start(
        settings,
        Arc::clone(&opened.storage.backend),
        opened.lock,
        peers,
        Arc::clone(&clock),
        Arc::clone(&random),
        Arc::new(CoreCandidate(Arc::clone(&core))),
        shutdown.clone(),
    );
    core.set_members(HaMembers::of(&ha));
    Arc::new(Lifecycle { core, ha, backend: opened.storage.backend, lock, cluster_tls, clock, random })
}

fn engines() -> EngineTable {
    ["kv", "cubbyhole"].into_iter().filter_map(|kind| Some((kind, secrets::factory(kind)?))).collect()
}

/// The seal of the configuration, its keys read.
pub(super) fn seal(config: &SealConfig, environment: &Environment) -> Result<Arc<dyn Seal>, NodeError> {
    match config {
        SealConfig::Shamir => Ok(Arc::new(ShamirSeal)),
        SealConfig::Static(keys) => {
            let load = |key: &crate::config::StaticKey| {
                let material = key.load(environment).map_err(NodeError::SealKey)?;
                StaticKey::new(&key.id, &material).map_err(NodeError::Seal)
            };
            let current = load(&keys.current)?;
            let previous = keys.previous.as_ref().map(load).transpose()?;
            Ok(Arc::new(StaticSeal::new(current, previous)?))
        }
    }
}

/// Opens storage and lock.
pub(super) async fn open(
    config: &ServerConfig,
    backends: &BackendTable,
    around: &Surroundings,
) -> Result<Opened, NodeError> {
    let storage = backends.storage(&config.storage, around).await?;
    let (lock, ha_storage) = match &config.ha_storage {
        Some(lock) => (Some(backends.lock(lock, around).await?), Some(lock.kind().to_owned())),
        None => (storage.lock.clone().filter(|_| config.ha_enabled), None),
    };
    Ok(Opened { storage, lock, ha_storage })
}

/// What leadership needs to know of this node.
pub(super) async fn settings(
    config: &ServerConfig,
    advertised: &Advertised,
    has_lock: bool,
    random: &dyn Random,
) -> HaSettings {
    let host = tokio::fs::read_to_string("/proc/sys/kernel/hostname").await.unwrap_or_default();
    let identity = identity::identity(&config.pod, &host, random);
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let cluster_addr = if config.disable_clustering { "" } else { &advertised.cluster };
    HaSettings {
        lease_seconds: u32::try_from(config.ha.lease_duration.as_secs()).unwrap_or(u32::MAX),
        read_lease_ms: millis(config.ha.read_lease),
        lock_disabled: !has_lock,
        adopt: config.ha.adopt.clone(),
        accept_rollback: config.ha.accept_rollback.clone(),
        version: VERSION.to_owned(),
        ..HaSettings::new(&identity, &advertised.api, cluster_addr)
    }
}
