//! Wrong variants: each breaks one rule of the design, and the simulation must notice.

use crate::storage::Semantics;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The design as it is.
    Right,
    /// The store does not compare the head.
    NoHeadCompare,
    /// The active node answers reads without a proof of leadership.
    NoReadLease,
    /// A new active node serves at once.
    NoWaitAfterClaim,
    /// Entries of the feed are lost.
    LossyFeed,
    /// A standby shows what the active node has not acknowledged.
    StandbyServesUnconfirmed,
    /// A write is acknowledged when it enters the queue.
    AcknowledgeBeforeCommit,
    /// A commit without an answer counts as not carried out.
    UnknownTakenAsNotApplied,
    /// Requests of a batch do not see the ones before them, and nothing is validated.
    CommittedStateOnly,
    /// What the head does not list is collected as garbage at once, whoever is about to list it.
    CollectsCurrentSegments,
    /// A backend whose commit was refused for its version sends it again with the newest one, whatever the head is.
    ResendsWithoutLooking,
    /// Reads are answered by whichever server of the storage is asked, however far it lags.
    ReadsFromFollowers,
}

/// Every wrong one.
pub const WRONG: [Variant; 11] = [
    Variant::NoHeadCompare,
    Variant::NoReadLease,
    Variant::NoWaitAfterClaim,
    Variant::LossyFeed,
    Variant::StandbyServesUnconfirmed,
    Variant::AcknowledgeBeforeCommit,
    Variant::UnknownTakenAsNotApplied,
    Variant::CommittedStateOnly,
    Variant::CollectsCurrentSegments,
    Variant::ResendsWithoutLooking,
    Variant::ReadsFromFollowers,
];

impl Variant {
    /// The storages that a variant can be wrong on.
    pub fn semantics(self) -> &'static [Semantics] {
        match self {
            // Only there the storage consists of objects.
            Self::CollectsCurrentSegments => &[Semantics::Kubernetes],
            Self::ResendsWithoutLooking => &[Semantics::Kubernetes, Semantics::Consul, Semantics::Zookeeper],
            Self::ReadsFromFollowers => &[Semantics::Etcd, Semantics::Consul, Semantics::Zookeeper],
            _ => &Semantics::ALL,
        }
    }
}
