//! Storage and locks against real servers.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test says what it expects, and its parts share what they need"
)]

#[path = "../support/apiserver.rs"]
mod apiserver;
#[path = "../support/consul.rs"]
mod consul_server;
#[path = "../support/etcd.rs"]
mod etcd_server;
#[path = "../chaos/link.rs"]
#[allow(dead_code)]
mod link;
#[path = "../support/pki.rs"]
mod pki;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/postgresql.rs"]
mod server_postgresql;

mod consul;
mod etcd;
mod file;
mod kubernetes;
mod network;
mod place;
mod postgresql;
mod steps;
mod table;
mod traps;
mod wake;
mod zookeeper;
