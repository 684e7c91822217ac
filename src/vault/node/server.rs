//! [`Server`]: one running server.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::warn;

use super::advertise::{self, Advertised, Known};
use super::backends::{BackendTable, Surroundings};
use super::banner::Banner;
use super::compose::{self, Opened};
use super::counted::Counted;
use super::error::NodeError;
use super::listeners::{self, Sockets};
use super::measure::NodeCollector;
use super::{development, tasks};
use crate::base::task::{self, Shutdown};
use crate::config::{Environment, ServerConfig};
use crate::telemetry::{self, Metrics, Probe};
use crate::vault::ha::Role;
use crate::vault::http::cluster::ClusterTls;
use crate::vault::http::lifecycle::Lifecycle;
use crate::vault::http::listen::Drain;
use crate::vault::http::pool::Pool;
use crate::vault::http::serve::{Api, Standby};

/// One running server. Dropping it does not stop it: [`Server::end`] does.
pub struct Server {
    /// Sealed or unsealed.
    pub lifecycle: Arc<Lifecycle>,
    /// Where clients connect, in the order of the configuration.
    pub api_addresses: Vec<SocketAddr>,
    /// Where probes and metrics are read.
    pub probe_address: Option<SocketAddr>,
    /// What to say at the start.
    pub banner: Banner,
    /// More to say at the start, in development mode.
    pub development: Option<String>,
    pub(super) drain: Drain,
    pub(super) peers: Drain,
    pub(super) shutdown: Shutdown,
    pub(super) ending: Shutdown,
}

/// Readiness: whether requests can be served here or sent on.
struct Readiness {
    lifecycle: Arc<Lifecycle>,
    ending: Shutdown,
}

impl Probe for Readiness {
    fn ready(&self) -> Result<(), String> {
        if self.ending.is_triggered() {
            return Err("this server is about to end".to_owned());
        }
        let status = self.lifecycle.ha.status();
        let status = status.borrow();
        match &status.role {
            Role::Active { .. } => Ok(()),
            Role::Standby | Role::Preparing | Role::HandingOver if status.leader.is_some() => Ok(()),
            Role::Standby | Role::Preparing | Role::HandingOver => Err(match status.reason.as_str() {
                "" => "no node is active".to_owned(),
                reason => format!("no node is active: {reason}"),
            }),
            Role::Sealed => Err("the vault is sealed".to_owned()),
            Role::Uninitialised => Err("the vault is not initialised".to_owned()),
            Role::Unknown => Err(format!("the storage was not reached yet: {}", status.reason)),
            Role::RolledBack { reason } => Err(format!("the storage went back in time: {reason}")),
        }
    }
}

impl Server {
    /// Starts a server: binds its sockets, opens its storage and serves. It need not be initialised, and the storage
    /// may be away.
    ///
    /// # Errors
    /// See [`NodeError`]; every text says what to change.
    pub async fn start(
        config: &ServerConfig,
        environment: &Environment,
        backends: &BackendTable,
    ) -> Result<Self, NodeError> {
        Self::start_in(config, environment, backends, Surroundings::system()).await
    }

    /// [`Server::start`] with time and randomness of the caller's.
    ///
    /// # Errors
    /// See [`NodeError`]; every text says what to change.
    pub async fn start_in(
        config: &ServerConfig,
        environment: &Environment,
        backends: &BackendTable,
        around: Surroundings,
    ) -> Result<Self, NodeError> {
        for warning in &config.warnings {
            warn!("{warning}");
        }
        let seal = compose::seal(&config.seal, environment)?;
        let mut opened = compose::open(config, backends, &around).await?;
        opened.storage.backend = Counted::above(opened.storage.backend);
        let has_peers = opened.lock.is_some() && !config.disable_clustering;
        let sockets = listeners::bind(config, has_peers)?;
        let advertised = addresses(config, &sockets, opened.lock.is_some()).await?;
        if let Some(warning) = &advertised.warning {
            warn!("{warning}");
        }
        let api_addresses: Vec<_> = sockets.iter().map(|one| one.bound.api).collect();
        let banner = banner(config, &opened, &advertised, &sockets, seal.kind());

        let has_lock = opened.lock.is_some();
        let settings = compose::settings(config, &advertised, has_lock, &*around.random).await;
        let Surroundings { clock, random } = around;
        let shutdown = Shutdown::default();
        let cluster_tls = Arc::new(ClusterTls::default());
        let pool = Arc::new(Pool::new(Arc::clone(&cluster_tls)));
        let parts = compose::Parts { seal, opened, settings, clock, random, cluster_tls };
        let lifecycle = compose::lifecycle(config, parts, &pool, &shutdown);
        let metrics = Arc::new(Metrics::new("server", env!("CARGO_PKG_VERSION")));
        metrics.register_collector(Box::new(NodeCollector(Arc::clone(&lifecycle))));
        let standby = Standby { only_redirects: config.disable_clustering, reads: config.standby_reads };
        let api = Api::new(Arc::clone(&lifecycle), pool, standby, &metrics);
        let mut server = Self {
            lifecycle,
            api_addresses,
            probe_address: None,
            banner,
            development: None,
            drain: Drain::default(),
            peers: Drain::default(),
            shutdown,
            ending: Shutdown::default(),
        };
        listeners::serve(
            sockets,
            &listeners::Surroundings {
                config,
                api: &api,
                drain: &server.drain,
                peers: &server.peers,
                shutdown: &server.shutdown,
            },
        )
        .await?;
        server.serve_probes(config, metrics).await?;
        server.start_tasks(config).await?;
        Ok(server)
    }

    async fn serve_probes(&mut self, config: &ServerConfig, metrics: Arc<Metrics>) -> Result<(), NodeError> {
        let Some(address) = config.telemetry.probe_address else { return Ok(()) };
        let socket = listeners::socket(address)?;
        let bound = listeners::local(&socket, address)?;
        self.probe_address = Some(bound);
        self.banner.probes = Some(bound);
        let probe =
            Arc::new(Readiness { lifecycle: Arc::clone(&self.lifecycle), ending: self.ending.clone() });
        task::spawn("probes", telemetry::serve(socket, metrics, probe, self.shutdown.clone()));
        Ok(())
    }

    async fn start_tasks(&mut self, config: &ServerConfig) -> Result<(), NodeError> {
        if let Some(dev) = &config.dev {
            let answer =
                development::make_vault(&self.lifecycle, dev).await.map_err(NodeError::Development)?;
            self.development = Some(development::message(&answer, &self.banner.api_address));
        }
        let run = |lifecycle: &Arc<Lifecycle>, shutdown: &Shutdown| (Arc::clone(lifecycle), shutdown.clone());
        let (lifecycle, shutdown) = run(&self.lifecycle, &self.shutdown);
        task::spawn("find the vault", tasks::find_vault(lifecycle, shutdown));
        let (lifecycle, shutdown) = run(&self.lifecycle, &self.shutdown);
        task::spawn("expiry", tasks::expire(lifecycle, shutdown));
        let (lifecycle, shutdown) = run(&self.lifecycle, &self.shutdown);
        task::spawn("keys", tasks::follow_keys(lifecycle, shutdown));
        let (lifecycle, shutdown) = run(&self.lifecycle, &self.shutdown);
        task::spawn("node certificate", tasks::renew_node_certificate(lifecycle, shutdown));
        Ok(())
    }
}

async fn addresses(config: &ServerConfig, sockets: &[Sockets], is_ha: bool) -> Result<Advertised, NodeError> {
    let file = async |path: &str| tokio::fs::read_to_string(path).await.unwrap_or_default();
    let host =
        advertise::host_addresses(&file("/proc/net/fib_trie").await, &file("/proc/net/if_inet6").await);
    Ok(advertise::advertise(&Known {
        environment: config.addresses.api_addr(),
        configured: config.api_addr.as_deref(),
        cluster_environment: config.addresses.vault_cluster_addr.as_deref(),
        cluster_configured: config.cluster_addr.as_deref(),
        pod_ip: config.pod.ip.as_deref(),
        listeners: sockets.iter().map(|one| one.bound).collect(),
        host,
        is_ha,
    })?)
}

fn banner(
    config: &ServerConfig,
    opened: &Opened,
    advertised: &Advertised,
    sockets: &[Sockets],
    seal: &'static str,
) -> Banner {
    let has_cluster = opened.lock.is_some() && !config.disable_clustering;
    let listeners = sockets
        .iter()
        .map(|one| (one.bound.api, has_cluster.then_some(one.bound.cluster), one.bound.tls))
        .collect();
    Banner {
        api_address: advertised.api.clone(),
        cluster_address: has_cluster.then(|| advertised.cluster.clone()),
        storage: config.storage.kind().to_owned(),
        ha_storage: opened.ha_storage.clone(),
        is_ha: opened.lock.is_some(),
        listeners,
        probes: None,
        seal,
        log_level: config.log.level.name(),
    }
}
