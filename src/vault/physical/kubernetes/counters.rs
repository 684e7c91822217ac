//! What the storage did so far, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::vault::physical::backend::Count;

/// Counts since the start of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Writes of the head object that were stored.
    pub head_writes: u64,
    /// Bytes of head objects sent.
    pub head_bytes: u64,
    /// Writes of the head object that met another version.
    pub head_conflicts: u64,
    /// Writes of the head object whose outcome was not known.
    pub head_unknown: u64,
    /// Milliseconds that commits waited for the budget.
    pub throttled_millis: u64,
    /// Segments created.
    pub segments_created: u64,
    /// Bytes of segments created (in base64, as stored).
    pub segment_bytes: u64,
    /// Segments deleted.
    pub segments_deleted: u64,
    /// Times that everything was loaded from the segments, the first one included.
    pub loads: u64,
}

impl Counters {
    /// The same for metrics.
    pub(super) fn counts(&self) -> Vec<Count> {
        [
            ("storage_head_writes", "Writes of the head object that were stored", self.head_writes),
            ("storage_head_bytes", "Bytes of head objects sent", self.head_bytes),
            (
                "storage_head_conflicts",
                "Writes of the head object that met another version",
                self.head_conflicts,
            ),
            ("storage_head_unknown", "Writes of the head object of unknown outcome", self.head_unknown),
            (
                "storage_throttled_milliseconds",
                "Time that commits waited for the budget",
                self.throttled_millis,
            ),
            ("storage_segments_created", "Segments created", self.segments_created),
            ("storage_segment_bytes", "Bytes of segments created", self.segment_bytes),
            ("storage_segments_deleted", "Segments deleted", self.segments_deleted),
            ("storage_loads", "Times that everything was loaded", self.loads),
        ]
        .map(|(name, help, value)| Count { name, help, value })
        .to_vec()
    }
}

/// The counters as they count.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) head_writes: AtomicU64,
    pub(super) head_bytes: AtomicU64,
    pub(super) head_conflicts: AtomicU64,
    pub(super) head_unknown: AtomicU64,
    pub(super) throttled_millis: AtomicU64,
    pub(super) segments_created: AtomicU64,
    pub(super) segment_bytes: AtomicU64,
    pub(super) segments_deleted: AtomicU64,
    pub(super) loads: AtomicU64,
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts `amount`.
pub(super) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counting {
    pub(super) fn read(&self) -> Counters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            head_writes: get(&self.head_writes),
            head_bytes: get(&self.head_bytes),
            head_conflicts: get(&self.head_conflicts),
            head_unknown: get(&self.head_unknown),
            throttled_millis: get(&self.throttled_millis),
            segments_created: get(&self.segments_created),
            segment_bytes: get(&self.segment_bytes),
            segments_deleted: get(&self.segments_deleted),
            loads: get(&self.loads),
        }
    }
}
