//! Storage and lock in PostgreSQL, against a real server.

mod errors;
mod faults;
mod proxy;
mod standby;
pub mod suite;
mod traps;
mod world;
