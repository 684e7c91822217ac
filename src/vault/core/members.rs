//! Who the cluster consists of.

use crate::base::clock::UnixMillis;

/// A node of the cluster, as `sys/ha-status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub hostname: String,
    /// Its API address.
    pub api_address: String,
    /// Its cluster address.
    pub cluster_address: String,
    /// Whether it is the active node.
    pub active_node: bool,
    /// When it was last heard of, by the wall clock; `None` for the node that answers.
    pub last_echo: Option<UnixMillis>,
    /// Its version.
    pub version: String,
}

/// Who the cluster consists of; known to the layers above the kernel.
pub trait Members: Send + Sync {
    /// This node and the others that it has heard of lately.
    fn members(&self) -> Vec<Member>;
}
