//! Storage and lock in Consul, against real agents.

mod faults;
mod proxy;
mod restore;
mod rotation;
mod suite;
mod traps;
mod unusable;
mod world;
