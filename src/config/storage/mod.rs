//! `storage` and `ha_storage`: one file for each type.

mod consul;
mod credential;
mod etcd;
mod file;
mod kubernetes;
mod postgresql;
mod postgresql_url;
mod tls;
mod zookeeper;

use std::collections::BTreeMap;

pub use consul::ConsulStorage;
pub use credential::{Credential, CredentialError};
pub use etcd::EtcdStorage;
pub use file::FileStorage;
pub use kubernetes::{KubernetesLock, KubernetesStorage};
pub use postgresql::{PostgresqlClash, PostgresqlStorage};
pub use postgresql_url::{ChannelBinding, PostgresqlHost, PostgresqlUrl, PostgresqlUrlError};
pub use tls::ClientTls;
pub use zookeeper::{ZookeeperServer, ZookeeperStorage};

use super::hcl::Value;
use super::parse::Context;
use super::section::Section;

/// Settings of a type that this crate does not know; its factory checks them. Scalars are kept as text.
pub type Settings = BTreeMap<String, String>;

/// Where the data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageConfig {
    /// `kubernetes`: objects of the API server.
    Kubernetes(KubernetesStorage),
    /// `etcd`.
    Etcd(EtcdStorage),
    /// `consul`.
    Consul(ConsulStorage),
    /// `zookeeper`.
    Zookeeper(ZookeeperStorage),
    /// `postgresql`.
    Postgresql(PostgresqlStorage),
    /// `file`: an embedded store of one process.
    File(FileStorage),
    /// `inmem`: in this process alone; nothing survives it.
    Inmem,
    /// Any other type; the table of backends knows it or refuses it.
    Other {
        /// The type.
        kind: String,
        /// Its settings.
        settings: Settings,
    },
}

impl StorageConfig {
    /// The type, as `storage "…"` names it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Etcd(_) => "etcd",
            Self::Consul(_) => "consul",
            Self::Zookeeper(_) => "zookeeper",
            Self::Postgresql(_) => "postgresql",
            Self::File(_) => "file",
            Self::Inmem => "inmem",
            Self::Other { kind, .. } => kind,
        }
    }
}

/// A lock apart from the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HaStorageConfig {
    /// `kubernetes`: a Lease.
    Kubernetes(KubernetesLock),
    /// `etcd`: a key.
    Etcd(EtcdStorage),
    /// `consul`: a key.
    Consul(ConsulStorage),
    /// `zookeeper`: a node.
    Zookeeper(ZookeeperStorage),
    /// `postgresql`: a row.
    Postgresql(PostgresqlStorage),
    /// Any other type; the table of backends knows it or refuses it.
    Other {
        /// The type.
        kind: String,
        /// Its settings.
        settings: Settings,
    },
}

impl HaStorageConfig {
    /// The type, as `ha_storage "…"` names it.
    pub fn kind(&self) -> &str {
        match self {
            Self::Kubernetes(_) => "kubernetes",
            Self::Etcd(_) => "etcd",
            Self::Consul(_) => "consul",
            Self::Zookeeper(_) => "zookeeper",
            Self::Postgresql(_) => "postgresql",
            Self::Other { kind, .. } => kind,
        }
    }
}

/// Reads `storage "kind" { … }`, and whether its own lock may be used.
pub(super) fn storage(kind: &str, section: &mut Section<'_>, context: &Context<'_>) -> (StorageConfig, bool) {
    let mut ha_enabled = true;
    let storage = match kind {
        "kubernetes" => StorageConfig::Kubernetes(kubernetes::storage(section, context)),
        "etcd" => StorageConfig::Etcd(etcd::storage(section, context)),
        "consul" => StorageConfig::Consul(consul::storage(section, context)),
        "zookeeper" => StorageConfig::Zookeeper(zookeeper::storage(section, context)),
        "postgresql" => StorageConfig::Postgresql(postgresql::storage(section, context)),
        "file" => StorageConfig::File(file::storage(section)),
        "inmem" => StorageConfig::Inmem,
        other => return (StorageConfig::Other { kind: other.to_owned(), settings: settings(section) }, true),
    };
    section.flag("ha_enabled", &mut ha_enabled);
    (storage, ha_enabled)
}

/// Reads `ha_storage "kind" { … }`.
pub(super) fn ha_storage(kind: &str, section: &mut Section<'_>, context: &Context<'_>) -> HaStorageConfig {
    let lock = match kind {
        "kubernetes" => HaStorageConfig::Kubernetes(kubernetes::lock(section, context)),
        "etcd" => HaStorageConfig::Etcd(etcd::storage(section, context)),
        "consul" => HaStorageConfig::Consul(consul::storage(section, context)),
        "zookeeper" => HaStorageConfig::Zookeeper(zookeeper::storage(section, context)),
        "postgresql" => HaStorageConfig::Postgresql(postgresql::storage(section, context)),
        other => return HaStorageConfig::Other { kind: other.to_owned(), settings: settings(section) },
    };
    // Vault's documents show it in this block; here it can only say what the block says already.
    let mut ha_enabled = true;
    section.flag("ha_enabled", &mut ha_enabled);
    if !ha_enabled {
        section.conflict("ha_enabled", "ha_storage with ha_enabled = false elects nobody: remove the block");
    }
    lock
}

fn settings(section: &mut Section<'_>) -> Settings {
    let mut out = Settings::new();
    for item in section.take_all() {
        flatten(item.key.clone(), &item.value, &mut out);
    }
    out
}

/// Adds a value as text: members of a block as `key.member`, elements of a list with commas between them.
fn flatten(key: String, value: &Value, out: &mut Settings) {
    let text = match value {
        Value::Text(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::List(values) => values.iter().filter_map(Value::as_text).collect::<Vec<_>>().join(","),
        Value::Block(body) => {
            return body
                .items
                .iter()
                .for_each(|item| flatten(format!("{key}.{}", item.key), &item.value, out));
        }
    };
    out.insert(key, text);
}
