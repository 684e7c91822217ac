//! What everything else stands on: clocks, randomness, identifiers, secrets, backoff, tasks, connections, error classes.

pub mod backoff;
pub mod class;
pub mod clock;
pub mod duration;
pub mod id;
pub mod random;
pub mod secret;
pub mod task;
pub mod tcp;
