//! Custom resources as users write them.

pub mod cluster;
pub mod emit;

pub use cluster::{VaultCluster, VaultClusterSpec, VaultClusterStatus};
