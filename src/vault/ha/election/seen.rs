//! [`Seen`]: the newest head that this process has seen, and what shows that the storage went back in time.

use std::fmt;

use crate::config::AcceptedRollback;
use crate::vault::physical::Head;

/// Why the storage must have gone back in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollbackSign {
    /// It holds no head any more.
    Gone,
    /// It holds another cluster's head.
    OtherCluster {
        /// The cluster that was there.
        was: String,
        /// The cluster that is.
        is: String,
    },
    /// Its head is older than one that was seen before.
    Lower {
        /// Epoch and sequence number seen before.
        was: (u64, u64),
        /// Those of now.
        is: (u64, u64),
    },
    /// Another commit stands where one was seen before.
    OtherCommit {
        /// Epoch and sequence number.
        at: (u64, u64),
    },
    /// Its head is older than what the lock remembers of an earlier process. Not a matter of [`Seen`].
    BelowLock {
        /// The cluster of the head.
        cluster: String,
        /// The epoch that the lock names.
        was: u64,
        /// Epoch and sequence number of the head.
        is: (u64, u64),
    },
}

impl RollbackSign {
    /// What the lock says against `head`: `named` is the highest epoch that its record named *before* the quorum check
    /// was sent which found `head`. A record names only epochs that the head had, so the head cannot be below.
    pub(super) fn below_lock(named: Option<u64>, head: &Head) -> Option<Self> {
        let was = named.filter(|named| *named > head.epoch)?;
        Some(Self::BelowLock { cluster: head.cluster.to_string(), was, is: head.position() })
    }

    /// Whether a person has accepted exactly this.
    pub(super) fn is_accepted(&self, accepted: &AcceptedRollback) -> bool {
        matches!(self, Self::BelowLock { cluster, was, is }
            if *cluster == accepted.cluster && *is == accepted.position() && *was == accepted.over)
    }
}

impl fmt::Display for RollbackSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the head that was there is gone"),
            Self::OtherCluster { was, is } => write!(f, "it held cluster {was} and now holds cluster {is}"),
            Self::Lower { was, is } => write!(
                f,
                "its head stood at epoch {} number {} and now stands at epoch {} number {}",
                was.0, was.1, is.0, is.1
            ),
            Self::OtherCommit { at } => {
                write!(
                    f,
                    "another commit stands at epoch {} number {} than was seen there before",
                    at.0, at.1
                )
            }
            Self::BelowLock { cluster, was, is } => {
                let accept =
                    AcceptedRollback { cluster: cluster.clone(), epoch: is.0, seq: is.1, over: *was };
                write!(
                    f,
                    "the lock remembers epoch {was} and its head stands at epoch {} number {}: restore what is newer, or, to \
                     lose it for good, set ha.accept_rollback = \"{accept}\"",
                    is.0, is.1
                )
            }
        }
    }
}

/// The newest head seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    highest: Option<Head>,
}

impl Seen {
    /// The newest head seen.
    pub fn highest(&self) -> Option<&Head> {
        self.highest.as_ref()
    }

    /// Notes a head that may be older than others seen; false if it contradicts what was seen, which only a quorum
    /// check can judge.
    pub fn saw(&mut self, head: &Head) -> bool {
        match &self.highest {
            None => self.highest = Some(head.clone()),
            Some(highest) if highest == head => {}
            Some(highest) if judge(highest, Some(head)).is_none() => self.highest = Some(head.clone()),
            Some(highest) => return head.cluster == highest.cluster && head.position() < highest.position(),
        }
        true
    }

    /// Judges the answer of a quorum check that was sent when `floor` was the newest head seen.
    ///
    /// # Errors
    /// The sign that the storage went back in time.
    pub fn checked(&mut self, floor: Option<&Head>, head: Option<&Head>) -> Result<(), RollbackSign> {
        if let Some(sign) = floor.and_then(|floor| judge(floor, head)) {
            return Err(sign);
        }
        if let Some(head) = head {
            self.saw(head);
        }
        Ok(())
    }
}

/// What shows that `head` cannot follow (or be) `floor`.
fn judge(floor: &Head, head: Option<&Head>) -> Option<RollbackSign> {
    let Some(head) = head else { return Some(RollbackSign::Gone) };
    if head.cluster != floor.cluster {
        return Some(RollbackSign::OtherCluster {
            was: floor.cluster.to_string(),
            is: head.cluster.to_string(),
        });
    }
    if head.position() == floor.position() {
        return (head.batch_id != floor.batch_id).then(|| RollbackSign::OtherCommit { at: head.position() });
    }
    // Every commit adds one to the sequence number, claims included: an epoch grows only together with it.
    let follows = head.seq > floor.seq && head.epoch >= floor.epoch;
    (!follows).then(|| RollbackSign::Lower { was: floor.position(), is: head.position() })
}
