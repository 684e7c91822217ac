//! Storage and lock in ZooKeeper, against real servers.

#[path = "../../support/zookeeper.rs"]
mod server;

mod ensemble;
mod faults;
mod proxy;
mod start;
pub mod suite;
mod traps;
mod world;
