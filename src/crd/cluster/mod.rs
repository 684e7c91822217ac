//! `VaultCluster`: one highly available vault.
//!
//! The doc comments of these types are what `kubectl explain vaultcluster.spec` prints: they speak to users.

pub mod condition;
pub mod pods;
pub mod rules;
mod schema;
pub mod service;
pub mod spec;
pub mod status;
pub mod storage;
pub mod tls;
pub mod unseal;

pub use condition::{ConditionStatus, ConditionType};
pub use pods::{Image, PullPolicy, Resources, Scheduling, Spread};
pub use rules::Rule;
pub use schema::complete;
pub use service::{ServiceSettings, ServiceType};
pub use spec::{Deletion, DeletionPolicy, HighAvailability, Profile, VaultCluster, VaultClusterSpec};
pub use status::{ActiveStatus, Member, MemberRole, VaultClusterStatus};
pub use storage::{SecretRef, Storage, StorageType};
pub use tls::{Tls, TlsMode};
pub use unseal::{Unseal, UnsealType};
