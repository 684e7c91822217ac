//! The election: a pure machine for the one lease algorithm, and for becoming, being and ceasing to be active.
//!
//! The driver (or the simulation) calls [`Election::step`] with an [`Event`] and carries out the [`Effect`]s in order;
//! it calls it with [`Event::Tick`] at [`Election::wake_at`] at the latest. Answers carry the `number` of the effect
//! that asked. Every effect that asks is answered, by a time-out if need be: an unanswered swap is
//! [`Swap::Unknown`](crate::vault::physical::Swap), an unanswered claim [`Commit::Unknown`](crate::vault::physical::Commit).
//!
//! # What the machine holds to
//! * The lock only elects: nothing it says makes a write safe. A claim at the head does.
//! * It claims only from the epoch that it saw by a quorum check when it won the lock, and looks at the lock again
//!   before each sending.
//! * After a claim it waits [`WAIT`](super::readlease::WAIT) before it serves, unless the node before renounced
//!   exactly the epoch that the claim replaced, or nobody ever led.
//! * Losing the lock, or sight of it, does not depose; a successor's claim does.
//! * A renunciation is final for its epoch and takes effect here before anything of it is sent.
//! * Storage that went back in time, by what this process has seen or by what the lock remembers, stops everything in
//!   this process for good. Another one may go on if a person has accepted exactly that rollback.
//!
//! `machine` holds the facts and dispatches, `standby` decides when to stand, `claim` goes from the lock to serving,
//! `active` renews and gives up, `handover` passes on. `lock`, `seen` and `signs` are the three judgements that
//! these rest on.

mod active;
mod claim;
mod event;
mod handover;
mod lock;
mod machine;
mod seen;
mod signs;
mod standby;

#[cfg(test)]
mod tests;

pub use event::{Cause, Context, Effect, ElectionSettings, Event, Sign, Successor};
pub use lock::{Freedom, LockView};
pub use machine::{Election, Phase};
pub use seen::{RollbackSign, Seen};
