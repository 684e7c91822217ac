//! Leadership: the lock, the claim, the committer, the feed, reads on standbys and handover.
//!
//! Everything that decides is a pure machine that takes time and randomness as arguments; [`Ha`] is the thin driver
//! that carries out what the machines ask for. No safety argument rests on the lock: the head fences.

mod candidate;
mod driver;
mod handle;
mod outage;
mod settings;
mod status;
mod wall_clock;

#[cfg(test)]
mod tests;

pub mod committer;
pub mod election;
pub mod peer;
pub mod readlease;

pub use candidate::Candidate;
pub use handle::{Admission, Ha, InitError, NoLedger, StepDownError};
pub use peer::{NodeReport, PeerAddress, PeerClient, PeerError, PeerRequest, PeerResponse};
pub use settings::{HaSettings, MOST_LEASE_SECONDS, pod_and_uid_of, pod_of};
pub use status::{HaMetrics, HaStatus, Leader, PeerStatus, Role};
