//! [`ServerConfig`]: everything that one server is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::env::{self, Environment};
use super::{
    HaConfig, HaStorageConfig, ListenerConfig, LogConfig, Problem, SealConfig, StorageConfig, TelemetryConfig,
};
use crate::base::secret::SecretString;

/// The configuration of one server; always valid.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the data lies.
    pub storage: StorageConfig,
    /// Whether the storage's own lock may be used: `ha_enabled` of its block.
    pub ha_enabled: bool,
    /// A lock of its own; `None`: the storage's own, if it has one.
    pub ha_storage: Option<HaStorageConfig>,
    /// Where clients connect; never empty.
    pub listeners: Vec<ListenerConfig>,
    /// How the root key is protected.
    pub seal: SealConfig,
    /// Probes and metrics.
    pub telemetry: TelemetryConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Leadership and reads.
    pub ha: HaConfig,
    /// `api_addr`, `redirect_addr` or `advertise_addr` of the file: a URL without a path. The environment wins
    /// over it: see [`AddressEnvironment::api_addr`].
    pub api_addr: Option<String>,
    /// `cluster_addr` of the file: a URL without a path. The environment wins over it.
    pub cluster_addr: Option<String>,
    /// The cluster's name; drawn by init if absent.
    pub cluster_name: Option<String>,
    /// No forwarding: standbys redirect.
    pub disable_clustering: bool,
    /// Standbys answer reads; without it they forward everything.
    pub standby_reads: bool,
    /// TTL of tokens and leases that ask for none.
    pub default_lease_ttl: Duration,
    /// Longest TTL of tokens and leases.
    pub max_lease_ttl: Duration,
    /// Addresses that the environment gives.
    pub addresses: AddressEnvironment,
    /// What the downward API says of this pod.
    pub pod: PodEnvironment,
    /// Set by `server -dev` alone.
    pub dev: Option<DevConfig>,
    /// Settings that were ignored, for the log.
    pub warnings: Vec<String>,
}

/// Addresses that the environment gives, as they stand there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressEnvironment {
    /// `VAULT_API_ADDR`.
    pub vault_api_addr: Option<String>,
    /// `VAULT_REDIRECT_ADDR`.
    pub vault_redirect_addr: Option<String>,
    /// `VAULT_ADVERTISE_ADDR`.
    pub vault_advertise_addr: Option<String>,
    /// `VAULT_CLUSTER_ADDR`.
    pub vault_cluster_addr: Option<String>,
}

impl AddressEnvironment {
    /// Reads the variables.
    pub fn read(environment: &Environment) -> Self {
        Self {
            vault_api_addr: environment.get(env::VAULT_API_ADDR),
            vault_redirect_addr: environment.get(env::VAULT_REDIRECT_ADDR),
            vault_advertise_addr: environment.get(env::VAULT_ADVERTISE_ADDR),
            vault_cluster_addr: environment.get(env::VAULT_CLUSTER_ADDR),
        }
    }

    /// The API address of the environment, by precedence, with the name of its variable.
    pub fn api_addr(&self) -> Option<(&str, &'static str)> {
        [
            (&self.vault_api_addr, env::VAULT_API_ADDR.name),
            (&self.vault_redirect_addr, env::VAULT_REDIRECT_ADDR.name),
            (&self.vault_advertise_addr, env::VAULT_ADVERTISE_ADDR.name),
        ]
        .into_iter()
        .find_map(|(value, name)| Some((value.as_deref()?, name)))
    }
}

/// What the downward API says of this pod; empty outside Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodEnvironment {
    /// `POD_IP`.
    pub ip: Option<String>,
    /// `POD_NAME`.
    pub name: Option<String>,
    /// `POD_UID`.
    pub uid: Option<String>,
    /// `POD_NAMESPACE`.
    pub namespace: Option<String>,
}

impl PodEnvironment {
    /// Reads the variables.
    pub fn read(environment: &Environment) -> Self {
        Self {
            ip: environment.get(env::POD_IP),
            name: environment.get(env::POD_NAME),
            uid: environment.get(env::POD_UID),
            namespace: environment.get(env::POD_NAMESPACE),
        }
    }
}

/// What `server -dev` adds: the node initialises and unseals itself and keeps nothing.
#[derive(Debug, Clone)]
pub struct DevConfig {
    /// The root token to use; `None` draws one.
    pub root_token: Option<SecretString>,
}

/// TTL of tokens and leases that ask for none, and the longest one: Vault's 768 h.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(768 * 3600);

impl ServerConfig {
    /// The configuration of `server -dev`: in memory, without TLS, on loopback alone.
    ///
    /// `address` and `root_token` win over the environment.
    ///
    /// # Errors
    /// When the address is none.
    pub fn development(
        address: Option<&str>,
        root_token: Option<SecretString>,
        environment: &Environment,
    ) -> Result<Self, Problem> {
        let from_environment = environment.get(env::VAULT_DEV_LISTEN_ADDRESS);
        let address = match address.or(from_environment.as_deref()) {
            Some(text) => super::listener::socket_address(text, super::DEFAULT_PORT).ok_or_else(|| {
                Problem::BadFlag {
                    flag: "-dev-listen-address",
                    value: text.to_owned(),
                    expected: "an address such as 127.0.0.1:8200",
                }
            })?,
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, super::DEFAULT_PORT)),
        };
        let root_token =
            root_token.or_else(|| environment.get(env::VAULT_DEV_ROOT_TOKEN_ID).map(SecretString::new));
        let mut config = Self::minimal(StorageConfig::Inmem, ListenerConfig::plain(address), environment);
        config.dev = Some(DevConfig { root_token });
        Ok(config)
    }

    /// A configuration where everything else is at its default.
    pub fn minimal(storage: StorageConfig, listener: ListenerConfig, environment: &Environment) -> Self {
        Self {
            storage,
            ha_enabled: true,
            ha_storage: None,
            listeners: vec![listener],
            seal: SealConfig::Shamir,
            telemetry: TelemetryConfig::default(),
            log: LogConfig::default(),
            ha: HaConfig::default(),
            api_addr: None,
            cluster_addr: None,
            cluster_name: None,
            disable_clustering: false,
            standby_reads: true,
            default_lease_ttl: LEASE_TTL,
            max_lease_ttl: LEASE_TTL,
            addresses: AddressEnvironment::read(environment),
            pod: PodEnvironment::read(environment),
            dev: None,
            warnings: Vec::new(),
        }
    }
}
