//! The committer: the active node's queue of transactions, as a pure machine.
//!
//! Requests run on committed state plus the earlier transactions of the queue. When a request is done its transaction
//! is [submitted](Committer::submit): if anything that it read has been written since, it is refused as a conflict and
//! the request runs again; otherwise it gets the next ticket and waits. Everything that waits goes out as one commit
//! at the head, and only one commit is in flight at a time. An unknown outcome is resolved by sending the same batch
//! again until the head has moved; no other batch starts before that.
//!
//! The machine never waits and reads no clock. The driver asks [`Committer::poll`] what to send, reports outcomes with
//! [`Committer::on_commit`] and what the journal shows with [`Committer::on_journal`], and completes the transactions
//! named in the answers.

mod batch;
mod cluster_time;
mod history;
mod outcome;
mod revert;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, UnixMillis};
use crate::vault::physical::{Head, Limits, Op, Stamp, StorageError, SubmitError, Transaction};

use batch::{Flight, Member};
pub use cluster_time::{ClusterTime, JUMP};
use history::History;
pub use revert::Settled;

/// Names a submitted transaction; chosen by the driver, never used twice.
pub type TxnId = u64;

/// Bounds of the queue and pace of resending.
#[derive(Debug, Clone, Copy)]
pub struct CommitterSettings {
    /// Most transactions that wait; beyond it they are refused as busy.
    pub queue_count: usize,
    /// Most bytes that wait.
    pub queue_bytes: usize,
    /// Commits whose keys are remembered for conflict detection; what read older state runs again.
    pub window: usize,
    /// First delay before a batch with an unknown outcome is sent again; it doubles up to `resend_most`.
    pub resend_first: Duration,
    /// Longest delay before a batch is sent again.
    pub resend_most: Duration,
}

impl Default for CommitterSettings {
    fn default() -> Self {
        Self {
            queue_count: 4096,
            queue_bytes: 64 << 20,
            window: 1024,
            resend_first: Duration::from_millis(20),
            resend_most: Duration::from_secs(1),
        }
    }
}

/// A commit to send to the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// The head that must be stored.
    pub expected: Head,
    /// The head that replaces it.
    pub next: Head,
    /// The batch, one operation a key.
    pub ops: Vec<Op>,
    /// Whether this batch was sent before.
    pub again: bool,
}

/// A transaction that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The transaction.
    pub id: TxnId,
    /// The head that holds it, or why it was not committed.
    pub result: Result<Head, SubmitError>,
}

/// Counters since the committer was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commits that succeeded.
    pub commits: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Transactions in the largest of them.
    pub largest_batch: u64,
    /// Batches that ended with this node deposed.
    pub fenced: u64,
    /// Batches whose outcome was unknown at first.
    pub unknown: u64,
    /// Transactions refused for a conflict.
    pub conflicts: u64,
}

/// Why a committer accepts nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// This node hands over: what is in flight is finished, nothing new is taken.
    HandingOver,
    /// Another node's claim replaced our head, or leadership was given up.
    Deposed,
}

/// The queue of the active node. Made for one epoch; a new claim makes a new one.
#[derive(Debug)]
pub struct Committer {
    settings: CommitterSettings,
    limits: Limits,
    /// The newest head known to be committed.
    head: Head,
    history: History,
    time: ClusterTime,
    /// The last ticket given out.
    ticket: u64,
    waiting: VecDeque<Member>,
    waiting_bytes: usize,
    flight: Option<Flight>,
    /// The newest pending write of each key: what requests see beyond committed state.
    overlay: HashMap<String, (u64, Option<Bytes>)>,
    stopped: Option<Stopped>,
    suspended: bool,
    /// Set while the storage does not answer for the batch in flight.
    stalled: Option<StorageError>,
    /// `(lowest failed ticket, ticket that took them back)`, oldest first.
    failures: VecDeque<(u64, u64)>,
    counters: Counters,
}

impl Committer {
    /// A committer that follows on `claim`, this node's own claim, at `now`.
    pub fn new(settings: CommitterSettings, limits: Limits, claim: Head, now: Moment) -> Self {
        Self {
            settings,
            limits,
            history: History::starting_at(claim.seq),
            time: ClusterTime::starting_at(claim.time, now),
            head: claim,
            ticket: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            flight: None,
            overlay: HashMap::new(),
            stopped: None,
            suspended: false,
            stalled: None,
            failures: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// The newest head known to be committed.
    pub fn acknowledged(&self) -> &Head {
        &self.head
    }

    /// Cluster time at `now`, given the wall clock.
    pub fn time(&self, now: Moment, wall: UnixMillis) -> UnixMillis {
        self.time.at(now, wall)
    }

    /// Transactions that wait or are in flight.
    pub fn queue_len(&self) -> usize {
        self.waiting.len() + self.flight.as_ref().map_or(0, |f| f.members.len())
    }

    /// Whether a batch is in flight.
    pub fn is_in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// Why nothing is accepted any more, if so.
    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped
    }

    /// The stamp of a read of committed state at sequence `seq`; `None` if that state is older than what this
    /// committer remembers (the read must be made again).
    pub fn stamp_at(&self, seq: u64) -> Option<Stamp> {
        if let Some(flight) = &self.flight
            && flight.next.seq == seq
        {
            return Some(Stamp(flight.last_ticket()));
        }
        self.history.ticket_at(seq).map(Stamp)
    }

    /// The stamp of a read that sees everything accepted so far.
    pub fn newest_stamp(&self) -> Stamp {
        Stamp(self.ticket)
    }

    /// The pending write of `key`, if there is one: `Some(None)` is a pending delete.
    pub fn pending(&self, key: &str) -> Option<(Option<Bytes>, Stamp)> {
        self.overlay.get(key).map(|(_, value)| (value.clone(), self.newest_stamp()))
    }

    /// Pending writes of keys that start with `prefix` and are greater than `after`, in no order: the key, and whether
    /// it is put.
    pub fn pending_keys<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a str, bool)> {
        self.overlay
            .iter()
            .map(|(key, (_, value))| (key.as_str(), value.is_some()))
            .filter(move |(key, _)| key.starts_with(prefix) && after.is_none_or(|after| *key > after))
    }

    /// Takes a transaction into the queue and returns the stamp that its writes have.
    ///
    /// # Errors
    /// [`SubmitError::Conflict`] if something it read has been written since; [`SubmitError::Busy`] if the queue is
    /// full; [`SubmitError::NotActive`] after a stop; [`SubmitError::Storage`] if it is above the limits by itself.
    pub fn submit(&mut self, id: TxnId, transaction: Transaction) -> Result<Stamp, SubmitError> {
        self.validate(&transaction)?;
        let writes = transaction.writes;
        self.admit(&writes)?;
        let member = Member::new(id, self.ticket + 1, writes);
        if self.waiting.len() >= self.settings.queue_count
            || self.waiting_bytes + member.bytes > self.settings.queue_bytes
        {
            return Err(SubmitError::Busy);
        }
        self.ticket += 1;
        for (key, value) in &member.writes {
            self.overlay.insert(key.clone(), (self.ticket, value.clone()));
        }
        self.waiting_bytes += member.bytes;
        self.waiting.push_back(member);
        Ok(Stamp(self.ticket))
    }

    /// Whether everything that `transaction` read is still so, pending writes included.
    ///
    /// # Errors
    /// [`SubmitError::Conflict`] if not; otherwise why nothing is accepted.
    pub fn validate(&mut self, transaction: &Transaction) -> Result<(), SubmitError> {
        if self.stopped.is_some() {
            return Err(SubmitError::NotActive);
        }
        if let Some(error) = &self.stalled {
            return Err(SubmitError::Storage(error.clone()));
        }
        let read = transaction.reads.iter().any(|(key, stamp)| self.is_changed(key, *stamp));
        if read || transaction.lists.iter().any(|(prefix, stamp)| self.is_changed_below(prefix, *stamp)) {
            self.counters.conflicts += 1;
            return Err(SubmitError::Conflict);
        }
        Ok(())
    }

    /// Counters.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes that wait.
    pub fn queue_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Stops accepting. While handing over, what waits and what is in flight is still finished; a deposed node fails
    /// what waits at once, and what is in flight when the journal tells.
    pub fn stop(&mut self, why: Stopped) -> Vec<Done> {
        self.stopped = Some(why);
        match why {
            Stopped::HandingOver => Vec::new(),
            Stopped::Deposed => self.drop_waiting(&SubmitError::NotActive),
        }
    }

    /// Takes new transactions again after a hand-over that did not happen.
    pub fn resume(&mut self) {
        if self.stopped == Some(Stopped::HandingOver) {
            self.stopped = None;
        }
    }

    /// Sends no batch while `suspended` (another holder was seen in the lock).
    pub fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    fn admit(&self, writes: &BTreeMap<String, Option<Bytes>>) -> Result<(), SubmitError> {
        let too_large = |what, bytes, limit_bytes| {
            SubmitError::Storage(StorageError::TooLarge { storage: "commit", what, bytes, limit_bytes })
        };
        if writes.len() > self.limits.operations {
            return Err(too_large("a request's number of writes", writes.len(), self.limits.operations));
        }
        let mut total = 0;
        for (key, value) in writes {
            let bytes = value.as_ref().map_or(0, Bytes::len);
            if bytes > self.limits.value_bytes {
                return Err(too_large("a value", bytes, self.limits.value_bytes));
            }
            total += key.len() + bytes;
        }
        if total > self.limits.commit_bytes {
            return Err(too_large("a request's writes", total, self.limits.commit_bytes));
        }
        Ok(())
    }

    fn is_changed(&self, key: &str, stamp: Stamp) -> bool {
        let pending = self.overlay.get(key).is_some_and(|(ticket, _)| *ticket > stamp.0);
        pending || self.history.is_written_since(key, stamp.0)
    }

    fn is_changed_below(&self, prefix: &str, stamp: Stamp) -> bool {
        let pending =
            self.overlay.iter().any(|(key, (ticket, _))| *ticket > stamp.0 && key.starts_with(prefix));
        pending || self.history.is_written_below_since(prefix, stamp.0)
    }

    /// The overlay holds just what is in flight and what waits.
    fn rebuild_overlay(&mut self) {
        self.overlay.clear();
        let flying = self.flight.iter().flat_map(|flight| &flight.members);
        for member in flying.chain(&self.waiting) {
            for (key, value) in &member.writes {
                self.overlay.insert(key.clone(), (member.ticket, value.clone()));
            }
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.settings.resend_first, self.settings.resend_most)
    }
}
