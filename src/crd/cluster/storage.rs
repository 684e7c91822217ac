//! Where the data lies: a union by `type`, with one struct each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key of a Secret in the cluster's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// Where the vault keeps its data. `type` chooses; the section of that name holds its settings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Kubernetes: in objects of the Kubernetes API, for small vaults. Etcd, Consul, ZooKeeper, PostgreSQL: in servers of
    /// yours. File: in a volume of the one pod. Memory: nowhere, for trials of one pod. Cannot be changed.
    #[serde(default, rename = "type")]
    pub kind: StorageType,
    /// Settings of type Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesStorage>,
    /// Settings of type Etcd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdStorage>,
    /// Settings of type Consul.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consul: Option<ConsulStorage>,
    /// Settings of type ZooKeeper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zoo_keeper: Option<ZooKeeperStorage>,
    /// Settings of type PostgreSQL.
    #[serde(default, rename = "postgreSQL", skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgresqlStorage>,
    /// Settings of type File.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileStorage>,
    /// Settings of type Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStorage>,
}

/// A kind of storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum StorageType {
    /// Objects of the Kubernetes API.
    #[default]
    Kubernetes,
    /// etcd.
    Etcd,
    /// Consul.
    Consul,
    /// ZooKeeper.
    ZooKeeper,
    /// PostgreSQL.
    PostgreSQL,
    /// A volume of the one pod.
    File,
    /// The memory of the one pod.
    Memory,
}

impl StorageType {
    /// The word that users write.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kubernetes => "Kubernetes",
            Self::Etcd => "Etcd",
            Self::Consul => "Consul",
            Self::ZooKeeper => "ZooKeeper",
            Self::PostgreSQL => "PostgreSQL",
            Self::File => "File",
            Self::Memory => "Memory",
        }
    }

    /// Whether several pods can share it.
    pub fn is_shared(self) -> bool {
        !matches!(self, Self::File | Self::Memory)
    }
}

impl Storage {
    /// The sections that are present, by the type that they belong to.
    pub fn sections(&self) -> Vec<StorageType> {
        [
            (self.kubernetes.is_some(), StorageType::Kubernetes),
            (self.etcd.is_some(), StorageType::Etcd),
            (self.consul.is_some(), StorageType::Consul),
            (self.zoo_keeper.is_some(), StorageType::ZooKeeper),
            (self.postgresql.is_some(), StorageType::PostgreSQL),
            (self.file.is_some(), StorageType::File),
            (self.memory.is_some(), StorageType::Memory),
        ]
        .into_iter()
        .filter_map(|(present, kind)| present.then_some(kind))
        .collect()
    }
}

/// Settings of the storage in the Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesStorage {
    /// Most bytes of data, 1 MiB to 256 MiB; beyond it writes are refused and deletes make room. By default 64 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_limit_bytes: Option<i64>,
    /// Bytes a second that the vault may write to the API server in the long run, 4096 to 16 MiB; beyond it commits
    /// wait longer. By default 256 KiB: some 30 writes of small secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_bytes_per_second: Option<i64>,
}

/// Settings of the storage in etcd.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtcdStorage {
    /// Addresses of its members, for example `https://etcd-0.etcd:2379`. At least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub endpoints: Vec<String>,
    /// What all keys begin with. By default `/holdfast/<namespace>/<name>/`; no other cluster may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub path: Option<String>,
    /// Secret with `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// Secret with the pods' client certificate as `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret_ref: Option<SecretRef>,
    /// Secret with the CA as `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
    /// Name to expect in the servers' certificates instead of the host of their address. Needs an `https://` endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tls_server_name: Option<String>,
}

/// Settings of the storage in Consul.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsulStorage {
    /// Address, for example `https://consul.consul:8501`; needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub address: Option<String>,
    /// What all keys begin with. By default `holdfast/<namespace>/<name>/`; no other cluster may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub path: Option<String>,
    /// Secret with the access token as `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// Secret with the pods' client certificate as `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret_ref: Option<SecretRef>,
    /// Secret with the CA as `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
    /// Name to expect in the servers' certificates instead of the host of their address. Needs an `https://` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tls_server_name: Option<String>,
}

/// Settings of the storage in ZooKeeper.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZooKeeperStorage {
    /// Addresses, for example `zookeeper-0.zookeeper:2281`. At least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub servers: Vec<String>,
    /// The node below which everything lies. By default `/holdfast/<namespace>/<name>`; no other cluster may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub path: Option<String>,
    /// Secret with `auth-info`, for example `digest:user:password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// Secret with the pods' client certificate as `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret_ref: Option<SecretRef>,
    /// Secret with the CA as `ca.crt`; with it the connection uses TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
    /// Name to expect in the servers' certificates instead of the host of their address. Needs `caSecretRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tls_server_name: Option<String>,
}

/// Settings of the storage in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresqlStorage {
    /// Secret with the connection URL as `url`; needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_secret_ref: Option<SecretRef>,
    /// First part of the names of the tables. By default `holdfast`; no other cluster may use it in the same database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub table: Option<String>,
    /// Secret with the pods' client certificate as `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret_ref: Option<SecretRef>,
    /// Secret with the CA as `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretRef>,
    /// Name to expect in the servers' certificates instead of the host of their address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tls_server_name: Option<String>,
}

/// Settings of the storage in a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileStorage {
    /// Name of the StorageClass of the volume; by default the cluster's default one. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// Size of the volume, by default 1Gi. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub size: Option<String>,
}

/// Settings of the storage in memory: there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MemoryStorage {}

/// The lock by which the pods elect the active one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct HaStorage {
    /// Kubernetes: a Lease with the cluster's name.
    #[serde(default, rename = "type")]
    pub kind: HaStorageType,
}

/// A kind of lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum HaStorageType {
    /// A Lease of the Kubernetes API.
    #[default]
    Kubernetes,
}
