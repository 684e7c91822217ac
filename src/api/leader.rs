//! `sys/leader` and `sys/ha-status`.

use serde::{Deserialize, Serialize};

/// The answer of `sys/leader`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Leader {
    /// Whether the storage can elect.
    pub ha_enabled: bool,
    /// Whether this node is the active one.
    pub is_self: bool,
    /// Since when the active node is active, RFC 3339.
    pub active_time: String,
    /// API address that the active node advertises; empty while there is none.
    pub leader_address: String,
    /// Cluster address that it advertises.
    pub leader_cluster_address: String,
    /// Always false.
    pub performance_standby: bool,
    /// Always zero.
    pub performance_standby_last_remote_wal: u64,
}

/// The answer of `sys/ha-status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaStatus {
    /// The nodes that the active node knows, itself included.
    pub nodes: Vec<HaNode>,
}

/// A node of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HaNode {
    /// Its host or pod name.
    pub hostname: String,
    /// API address that it advertises.
    pub api_address: String,
    /// Cluster address that it advertises.
    pub cluster_address: String,
    /// Whether it is the active one.
    pub active_node: bool,
    /// When it was last heard of, RFC 3339; absent for the active node.
    pub last_echo: Option<String>,
    /// Its version.
    pub version: String,
}
