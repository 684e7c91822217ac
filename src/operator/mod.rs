//! The controller: a `VaultCluster` in, pods, Services, certificates, a Lease and status conditions out.
//!
//! One visit is `observe → validate → plan → apply → report`. Only observe, apply and report wait for anything.

mod build;
mod live;
mod names;
mod plan;
mod settings;

pub use settings::Settings;
