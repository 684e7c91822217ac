//! What a node says about itself: its role, its leader, how it stands to the storage, and counters.

use crate::base::clock::{Moment, UnixMillis};
use crate::vault::physical::{ActiveRecord, Head};

/// What this node is at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The storage was not reached since this node started: nothing is known.
    Unknown,
    /// The storage holds no vault.
    Uninitialised,
    /// Initialised, and sealed here.
    Sealed,
    /// Unsealed, not active: forwards writes, serves reads.
    Standby,
    /// Has won the lock and is on its way to become active.
    Preparing,
    /// The active node.
    Active {
        /// The epoch it claimed.
        epoch: u64,
        /// When it began to serve.
        since: Moment,
        /// The same by the wall clock, for people.
        since_unix: UnixMillis,
    },
    /// Was active and hands over: hold new requests until another leads.
    HandingOver,
    /// The storage went back in time: this process serves nothing any more.
    RolledBack {
        /// What was seen.
        reason: String,
    },
}

impl Role {
    /// A word for logs, metrics and `sys/ha-status`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Uninitialised => "uninitialised",
            Self::Sealed => "sealed",
            Self::Standby => "standby",
            Self::Preparing => "preparing",
            Self::Active { .. } => "active",
            Self::HandingOver => "handing-over",
            Self::RolledBack { .. } => "rolled-back",
        }
    }

    /// Whether this node is the active one and serves.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Active { .. })
    }
}

/// A node's view of leadership; published on every change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaStatus {
    /// What this node is.
    pub role: Role,
    /// The active node, if one is known (this node included).
    pub leader: Option<ActiveRecord>,
    /// The newest head that this node knows.
    pub head: Option<Head>,
    /// Set while the storage is away, not while it merely pauses: the reason of the error.
    pub storage_away: Option<String>,
    /// Why the node is what it is, or what keeps it from claiming; one sentence for people, may be empty.
    pub reason: String,
}

/// Where requests that need the active node go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leader {
    /// This node is active.
    Here,
    /// Another node is.
    There(ActiveRecord),
}

/// What is known about another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its identity.
    pub identity: String,
    /// Its API address.
    pub api_addr: String,
    /// Its cluster address.
    pub cluster_addr: String,
    /// Its version.
    pub version: String,
    /// Whether it is unsealed and able to become active.
    pub is_able: bool,
    /// Whether it takes over only if it is asked to, because it has just stepped down.
    pub is_resting: bool,
    /// Whether it said that it is the active node.
    pub is_active: bool,
    /// The highest storage format that it can write.
    pub format: u32,
    /// The newest head that it had.
    pub head: Option<Head>,
    /// What its wall clock would have shown at the zero of this node's steady clock, in milliseconds since 1970.
    pub clock_zero_ms: i64,
    /// When it was last heard of.
    pub last_heard: Moment,
    /// The same by the wall clock, for people.
    pub last_heard_unix: UnixMillis,
}

/// Counters since the process started, and gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HaMetrics {
    /// Epoch of the newest head known.
    pub epoch: u64,
    /// Sequence number of the newest head known.
    pub seq: u64,
    /// Times that this node won the lock.
    pub elections: u64,
    /// Times that this node became active.
    pub promotions: u64,
    /// Commits that succeeded.
    pub commits: u64,
    /// Transactions in those commits.
    pub transactions: u64,
    /// Transactions in the largest of those commits.
    pub largest_batch: u64,
    /// Commits that were fenced.
    pub fenced: u64,
    /// Commits whose outcome was unknown at first.
    pub unknown: u64,
    /// Transactions refused because what they read had changed.
    pub conflicts: u64,
    /// Quorum checks sent.
    pub checks: u64,
    /// Transactions waiting now.
    pub queued: u64,
    /// Bytes waiting now.
    pub queued_bytes: u64,
    /// Requests admitted and not finished now.
    pub in_flight: u64,
}
