//! Composition of one server from its configuration, its start and its end.

pub mod advertise;
pub mod backends;
pub mod banner;
pub mod error;
pub mod server;

mod candidate;
mod compose;
mod counted;
mod development;
mod end;
mod identity;
mod listeners;
mod measure;
mod members;
mod tasks;

pub use backends::{BackendFactory, BackendTable, OpenError, OpenStorage, Surroundings};
pub use end::{run, run_in};
pub use error::NodeError;
pub use server::Server;
