//! The driver: carries out what the machines ask for, and nothing else.
//!
//! One task owns the [`Election`](super::election::Election) and feeds it events (`run`, `effects`). Small tasks watch
//! the lock, follow the journal and greet the peers. A [`term::Term`] is one epoch of this node as the active one: its
//! committer, its read lease and those who wait for either.

pub(super) mod active_ledger;
pub(super) mod answers;
mod effects;
mod feed;
mod joint;
pub(super) mod member;
mod peers;
pub(super) mod run;
pub(super) mod standby_ledger;
mod storage;
pub(super) mod term;
mod term_loop;
