//! The kernel: sealing and unsealing, tokens, policies, mounts, and the one pipeline that every request runs through.
//!
//! [`Core`] is what the HTTP face and the node hold. Engines never see it: the system's own engines
//! ([`KernelEngine`]) get a [`Kernel`] for the duration of one request, all others their two narrow views.

pub mod audit;
pub mod call;
pub mod engines;
pub mod error;
pub mod init;
pub mod kernel;
pub mod members;
pub mod mounts;
pub mod parts;
pub mod policy;
pub mod quorum;
pub mod status;
pub mod token;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

mod cache;
mod dispatch;
mod gate;
mod inspect;
mod open;
mod pipeline;
mod records;
mod respond;
mod step;
mod upkeep;

pub use call::{Body, Call, Effect, Outcome, Reply};
pub use engines::{EngineTable, KernelEngine, KernelTable};
pub use error::CoreError;
pub use init::{FirstMount, InitAnswer, InitParams};
pub use kernel::Kernel;
pub use members::{Member, Members};
pub use mounts::{MountClass, MountConfig, MountEntry, MountSpec, MountTable};
pub use parts::{Core, CoreParts};
pub use quorum::{
    Given, OTP_CHARS, RekeyProgress, RekeyTarget, RekeyWish, Rekeyed, RootProgress, VerifyProgress,
};
pub use status::{SealStatus, is_of_keys};
pub use step::Swept;
pub use token::{IssuedToken, NewToken, TokenEntry};
