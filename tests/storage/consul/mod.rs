//! Storage and lock in Consul, against real agents.

mod faults;
mod proxy;
mod restore;
mod rotation;
pub mod suite;
mod traps;
mod unusable;
mod world;
