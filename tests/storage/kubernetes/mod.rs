//! Storage and lock in Kubernetes, against a real kube-apiserver.

mod budget;
mod faults;
mod lease;
mod segments;
mod server;
mod suite;
mod world;
