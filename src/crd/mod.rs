//! Custom resources as users write them.

pub mod cluster;
pub mod emit;
pub mod store;

pub use cluster::{VaultCluster, VaultClusterSpec, VaultClusterStatus};
pub use store::{VaultStoreHead, VaultStoreSegment};
