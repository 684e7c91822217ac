//! Storage and lock in memory: one process, nothing survives it.
//!
//! [`Store`] and [`Register`] are the pure cores, without locks, tasks or time: a simulation drives them directly.
//! [`InmemBackend`] and [`InmemRegister`] put them behind the public traits; clones share the same content, so
//! that several nodes in one process form a cluster.

mod backend;
mod register;
mod store;

pub use backend::InmemBackend;
pub use register::{InmemRegister, Register};
pub use store::Store;
pub(in crate::vault::physical) use store::page;
