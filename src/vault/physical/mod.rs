//! Storage and lock backends: the two public traits, what they exchange, and the backends themselves.
//!
//! [`Backend`] is a key-value store whose only write is a *commit at the head*; [`HaBackend`] is a
//! compare-and-swap register with a watch that elects. Anybody may add a backend by implementing them.

pub mod backend;
pub mod cache;
pub mod conformance;
pub mod consul;
pub mod etcd;
pub mod file;
pub mod head;
pub mod inmem;
pub mod journal;
pub mod kubernetes;
pub mod ledger;
pub mod postgresql;
pub mod register;
pub mod tls;
pub mod unusable;
pub mod wire;
pub mod zookeeper;

pub use backend::{
    Backend, Commit, Count, Feed, FeedEvent, Journal, KEY_BYTES, Limits, Listing, Op, StorageError, Value,
};
pub use cache::CachedBackend;
pub use head::{BatchId, FORMAT, Head, LockName};
pub use journal::{JournalFeed, JournalPage, JournalSource};
pub use ledger::{Confirmed, Consistency, Keys, Ledger, ReadPass, Reading, Stamp, SubmitError, Transaction};
pub use register::{
    ActiveRecord, HaBackend, HandoverWish, LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned,
};
pub use unusable::Unusable;
