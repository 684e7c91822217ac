//! Storage and lock in Kubernetes: the default of a vault cluster, for small vaults.
//!
//! One head object is replaced by every commit, compared by its `resourceVersion`; it carries the newest commits inline
//! and lists the immutable segments that hold the rest. Every node holds the whole content in memory, follows the
//! head object by watch and poll, and reads segments only when it starts or has lagged far behind.
//! `docs/storage/kubernetes.md` says what that costs the cluster and when to move to another storage.

mod backend;
mod budget;
mod client;
mod codec;
mod commit;
mod config;
mod contact;
mod counters;
mod feed;
mod garbage;
mod layout;
mod load;
mod open;
mod pay;
mod register;
mod rights;
mod segments;
mod state;
mod sync;

pub use backend::KubernetesBackend;
pub use config::{NAME_CHARS, Settings};
pub use counters::Counters;
pub use garbage::{Collector, Known, SegmentObject};
pub use open::{open, open_lock};
pub use register::LeaseRegister;
