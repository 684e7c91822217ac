//! Clusters whose data lies in etcd, Consul, ZooKeeper or PostgreSQL, and whose lock is the Lease.
//!
//! The servers are real ones on the runner's loopback; [`door`] brings them into the lab's network, and the samples of
//! `deploy/samples/` find them there by the names that they hold.

mod cluster;
mod door;
mod outage;
mod ready;
mod servers;

pub use outage::api_server;
pub use ready::{consul, etcd, postgresql, zookeeper};
