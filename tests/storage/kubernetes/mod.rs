//! Storage and lock in Kubernetes, against a real kube-apiserver.

#[allow(clippy::unwrap_used)]
#[path = "../../support/http.rs"]
mod http;

mod budget;
mod faults;
mod full;
mod lease;
mod segments;
mod server;
pub mod suite;
mod unusable;
mod world;
