//! What happened in runs, in numbers.

use crate::storage::objects::Counts;

#[derive(Debug, Default, Clone)]
pub struct Totals {
    pub runs: u64,
    pub operations: u64,
    pub claims: u64,
    pub fenced: u64,
    pub unknown: u64,
    pub faults: u64,
    /// Commits that were stored after their client had given up.
    pub late: u64,
    /// Sessions that a claim ended because they held the row of the head.
    pub ended: u64,
    pub segments: Counts,
}

impl Totals {
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.operations += other.operations;
        self.claims += other.claims;
        self.fenced += other.fenced;
        self.unknown += other.unknown;
        self.faults += other.faults;
        self.late += other.late;
        self.ended += other.ended;
        self.segments.add(&other.segments);
    }
}
