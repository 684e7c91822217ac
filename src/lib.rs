//! Holdfast: highly available vault clusters on Kubernetes.
//!
//! Two roles in one binary: `holdfast operator` reconciles `VaultCluster` resources into pods, and
//! `holdfast server` is the vault core that runs in them, a secret server that speaks Vault's HTTP API.
//!
//! The modules below are listed in reading order. Each may import only from rows above its own;
//! `tests/architecture.rs` holds the table and fails on any other import.
#![forbid(unsafe_code)]

// Row 0: knows nothing of vaults or of Kubernetes.
pub mod base;
// Row 1: algorithms, words and wire formats.
pub mod api;
pub mod config;
pub mod crd;
pub mod crypto;
pub mod k8s;
// Row 2 and 3: the server.
pub mod telemetry;
pub mod vault;
// Row 3: the controller.
pub mod operator;
// Row 4: commands.
pub mod cli;
