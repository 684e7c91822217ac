//! Reverts: what it means for readers that pending writes failed.
//!
//! A request may have read a pending value that then failed. For its transaction the failure is a write: the keys get
//! a new ticket, so that it conflicts. For a request that only reads, [`Committer::settled`] tells.

use super::{Committer, Done};
use crate::vault::physical::{Stamp, StorageError, SubmitError};

/// Failures that are remembered, for readers that began before them.
const MOST_FAILURES: usize = 256;

/// What became of the writes that a reader saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// All of them are committed.
    Committed,
    /// Some are still pending.
    Pending,
    /// Some failed: the reader must start again.
    Failed,
}

impl Committer {
    /// What became of everything that a reader saw which began at stamp `begun` and whose newest stamp is `newest`.
    pub fn settled(&self, begun: Stamp, newest: Stamp) -> Settled {
        if self.failures.iter().any(|(lowest, reverted)| *reverted > begun.0 && *lowest <= newest.0) {
            return Settled::Failed;
        }
        let flying = self.flight.iter().flat_map(|flight| &flight.members);
        match flying.chain(&self.waiting).next() {
            Some(oldest) if oldest.ticket <= newest.0 => Settled::Pending,
            _ => Settled::Committed,
        }
    }

    /// Whether a listing below `prefix` that was read at head `seq` can be brought up to date with
    /// [`Committer::pending_keys`] alone: no commit after `seq` changed anything there.
    pub fn is_current_below(&self, prefix: &str, seq: u64) -> bool {
        self.stamp_at(seq).is_some_and(|stamp| !self.history.is_written_below_since(prefix, stamp.0))
    }

    /// Tells that the storage does not answer for the batch in flight: those who wait learn that the outcome is
    /// unknown, or that nothing was written if it was not sent; nothing is accepted until the batch is resolved. It
    /// stays in flight.
    pub fn stall(&mut self, error: &StorageError) -> Vec<Done> {
        let Some(flight) = &mut self.flight else { return Vec::new() };
        let mut done = Vec::new();
        if !flight.is_orphaned {
            flight.is_orphaned = true;
            let unknown = SubmitError::Unknown { reason: error.to_string() };
            done.extend(flight.members.iter().map(|m| Done { id: m.id, result: Err(unknown.clone()) }));
        }
        self.stalled = Some(error.clone());
        done.extend(self.drop_waiting(&SubmitError::Storage(error.clone())));
        done
    }

    /// Why writes are refused, while the storage does not answer.
    pub fn stalled(&self) -> Option<&StorageError> {
        self.stalled.as_ref()
    }

    pub(super) fn drop_waiting(&mut self, error: &SubmitError) -> Vec<Done> {
        self.drop_pending(None, error)
    }

    /// Fails what waits with `error`, and takes back what was pending and is not in flight; `lowest` is the lowest
    /// ticket of a batch that failed.
    pub(super) fn drop_pending(&mut self, lowest: Option<u64>, error: &SubmitError) -> Vec<Done> {
        let lowest = lowest.or_else(|| self.waiting.front().map(|member| member.ticket));
        let done = self.waiting.drain(..).map(|m| Done { id: m.id, result: Err(error.clone()) }).collect();
        self.waiting_bytes = 0;
        let Some(lowest) = lowest else { return done };
        let failed = self.overlay.iter().filter(|(_, (ticket, _))| *ticket >= lowest);
        let failed: Vec<String> = failed.map(|(key, _)| key.clone()).collect();
        self.ticket += 1;
        self.history.revert(&failed, self.ticket, self.flight.is_none());
        if let Some(flight) = &mut self.flight {
            let mut keys = flight.reverted.take().map(|(_, keys)| keys).unwrap_or_default();
            keys.extend(failed);
            flight.reverted = Some((self.ticket, keys));
        }
        self.rebuild_overlay();
        self.failures.push_back((lowest, self.ticket));
        if self.failures.len() > MOST_FAILURES {
            // Two failures become one that spans both: readers between them start again without need.
            let oldest = self.failures.pop_front().map_or(0, |(lowest, _)| lowest);
            if let Some(next) = self.failures.front_mut() {
                next.0 = next.0.min(oldest);
            }
        }
        done
    }
}
