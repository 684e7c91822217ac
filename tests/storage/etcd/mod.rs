//! Storage and lock in etcd, against real servers.

mod failover;
mod proxy;
mod start;
pub mod suite;
mod traps;
mod unknown;
mod world;
