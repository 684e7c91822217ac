//! Cluster time: the active's wall clock, kept from going back and from jumping.

use std::time::Duration;

use crate::base::clock::{Moment, UnixMillis};

/// A wall clock that differs by more than this from the progress of the monotonic clock is not followed.
pub const JUMP: Duration = Duration::from_secs(30);

/// Cluster time as one active node carries it on.
#[derive(Debug, Clone)]
pub struct ClusterTime {
    last: UnixMillis,
    at: Moment,
}

impl ClusterTime {
    /// Starts from the time of the head that this node follows on, seen at `now`.
    pub fn starting_at(time: UnixMillis, now: Moment) -> Self {
        Self { last: time, at: now }
    }

    /// Cluster time at `now`: the wall clock if it is believable, else the last time plus what the monotonic clock
    /// counted. Never lower than the last.
    pub fn at(&self, now: Moment, wall: UnixMillis) -> UnixMillis {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let expected = self.last.0.saturating_add(passed);
        let jump = u64::try_from(JUMP.as_millis()).unwrap_or(u64::MAX);
        let time = if wall.0.abs_diff(expected) <= jump { wall.0 } else { expected };
        UnixMillis(time.max(self.last.0))
    }

    /// Like [`ClusterTime::at`], and remembers the answer as the last time.
    pub fn advance(&mut self, now: Moment, wall: UnixMillis) -> UnixMillis {
        self.last = self.at(now, wall);
        self.at = now;
        self.last
    }

    /// Whether the wall clock is one that cluster time does not follow.
    pub fn is_skewed(&self, now: Moment, wall: UnixMillis) -> bool {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        wall.0.abs_diff(self.last.0.saturating_add(passed))
            > u64::try_from(JUMP.as_millis()).unwrap_or(u64::MAX)
    }
}
