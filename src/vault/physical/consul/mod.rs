//! Storage and lock in the key-value store of a Consul cluster.
//!
//! One commit is one transaction (`PUT /v1/txn`), one read another one; both are answered by the leader. What a
//! transaction cannot do, a listing of keys, is fenced by the head before and after it.

mod backend;
mod client;
mod commit;
mod config;
mod connection;
mod feed;
mod measure;
mod open;
mod reads;
mod register;
mod transaction;

pub use backend::ConsulBackend;
pub use open::open;
pub use register::ConsulRegister;
