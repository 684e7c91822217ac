//! Wire types and HTTP client of the Vault API, used by server, operator and commands alike.
//!
//! Types here are what travels: the same struct is written by the server and read by the clients.

pub mod client;
pub mod paths;

mod envelope;
mod health;
mod leader;
mod mounts;
mod seal;
mod secret_text;

pub use envelope::{Auth, Envelope, Errors, WrapInfo};
pub use health::{Health, HealthCodes, VERSION};
pub use leader::{HaNode, HaStatus, Leader};
pub use mounts::MountInfo;
pub use seal::{InitKeys, InitRequest, InitResponse, InitStatus, SealStatus, UnsealRequest};
