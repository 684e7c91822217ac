//! Outcomes: what an answer, or the journal, says of the batch in flight.

use super::batch::{Flight, Member};
use super::{Committer, Done, Stopped};
use crate::base::clock::Moment;
use crate::base::random::Random;
use crate::vault::physical::{BatchId, Commit, Head, Journal, StorageError, SubmitError};

impl Committer {
    /// Takes the answer to a [`Send`](super::Send) whose next head carried `batch`; answers to anything but the batch
    /// in flight are ignored.
    pub fn on_commit(
        &mut self,
        batch: BatchId,
        answer: Commit,
        now: Moment,
        random: &dyn Random,
    ) -> Vec<Done> {
        let Some(flight) = self.flight.as_mut().filter(|f| f.next.batch_id == batch) else {
            return Vec::new();
        };
        flight.on_the_wire = false;
        match answer {
            Commit::Committed => self.applied(),
            Commit::Unknown { .. } => {
                self.counters.unknown += u64::from(flight.sent == 1);
                flight.resend_at = now.plus(flight.backoff.next_delay(random));
                Vec::new()
            }
            // The only batch that can be refused for good is one that was never sent before: an earlier copy with an
            // unknown outcome may still arrive. It cannot any more once an empty commit took its place.
            Commit::Refused(error) if flight.sent == 1 => self.refused(&error),
            Commit::Refused(error) => {
                if flight.refused.is_none() {
                    flight.refused = Some((error, flight.next.batch_id));
                    flight.next.batch_id = BatchId::new(random);
                }
                flight.resend_at = now.plus(flight.backoff.next_delay(random));
                Vec::new()
            }
            Commit::Fenced { current } => self.fenced(current, now, random),
        }
    }

    /// Takes a record of the journal: it proves what became of the batch in flight, and shows a successor's claim.
    pub fn on_journal(&mut self, record: &Journal) -> Vec<Done> {
        if record.head.position() <= self.head.position() {
            return Vec::new();
        }
        self.recognise(&record.head);
        let verdict = self.flight.as_ref().map(|flight| judge(flight, &record.head));
        match verdict {
            Some(Verdict::Applied) => self.applied(),
            Some(Verdict::NotApplied) => self.deposed(&SubmitError::NotActive),
            Some(Verdict::Open) | None => self.deposed_by(&record.head),
        }
    }

    /// The journal cannot tell any more (a gap in the feed, or no answer within the driver's bound): what is in flight
    /// may have been carried out.
    pub fn give_up(&mut self, reason: &str) -> Vec<Done> {
        self.deposed(&SubmitError::Unknown { reason: reason.to_owned() })
    }

    /// If `seen` is the head of a refused batch that landed after all, that batch is the one in flight again.
    fn recognise(&mut self, seen: &Head) {
        if let Some(flight) = &mut self.flight
            && flight.refused.is_some()
            && seen.batch_id == flight.member_batch()
        {
            flight.next.batch_id = seen.batch_id;
            flight.refused = None;
        }
    }

    fn fenced(&mut self, current: Option<Head>, now: Moment, random: &dyn Random) -> Vec<Done> {
        if let Some(current) = &current {
            self.recognise(current);
        }
        let Some(flight) = self.flight.as_mut() else { return Vec::new() };
        let Some(current) = current else {
            return self.give_up("the storage holds no head any more");
        };
        match judge(flight, &current) {
            Verdict::Applied => self.applied(),
            Verdict::NotApplied => self.deposed(&SubmitError::NotActive),
            Verdict::Open if current == flight.expected => {
                flight.resend_at = now.plus(flight.backoff.next_delay(random));
                Vec::new()
            }
            Verdict::Open => self.deposed_by(&current),
        }
    }

    /// Another head is stored. If it lies beyond the batch in flight, only the journal can tell what became of that.
    fn deposed_by(&mut self, current: &Head) -> Vec<Done> {
        if current.epoch == self.head.epoch {
            // Our own commit, seen before its answer arrived, or an older state: neither deposes.
            return Vec::new();
        }
        if let Some(flight) = self.flight.as_mut() {
            flight.is_overtaken = true;
        }
        self.stop(Stopped::Deposed)
    }

    fn applied(&mut self) -> Vec<Done> {
        let Some(mut flight) = self.flight.take() else { return Vec::new() };
        self.stalled = None;
        self.counters.commits += 1;
        self.head = flight.next.clone();
        let last_ticket = flight.last_ticket();
        let reverted = flight.reverted.take().map(|(_, keys)| keys).unwrap_or_default();
        if let Some((error, _)) = flight.refused.take() {
            // The empty commit took the place of the refused batch, which therefore can never land.
            let none = std::iter::empty();
            self.history.record(flight.next.seq, self.history.newest_ticket(), none, self.settings.window);
            return self.fail(Some(flight), &SubmitError::Storage(error), &SubmitError::NotApplied);
        }
        self.counters.transactions += flight.members.len() as u64;
        self.counters.largest_batch = self.counters.largest_batch.max(flight.members.len() as u64);
        let written = flight.members.iter().flat_map(|m| m.writes.keys().map(|key| (key.clone(), m.ticket)));
        let keys = written.chain(reverted.into_iter().map(|key| (key, last_ticket)));
        self.history.record(flight.next.seq, last_ticket, keys, self.settings.window);
        self.overlay.retain(|_, (ticket, _)| *ticket > last_ticket);
        let head = self.head.clone();
        tell(&flight, |_| Ok(head.clone()))
    }

    fn refused(&mut self, error: &StorageError) -> Vec<Done> {
        let flight = self.flight.take();
        self.stalled = None;
        self.fail(flight, &SubmitError::Storage(error.clone()), &SubmitError::NotApplied)
    }

    /// Fails the members of a batch that was certainly not applied, and everything that waits, which may have read what
    /// they wrote.
    fn fail(&mut self, flight: Option<Flight>, error: &SubmitError, waiting: &SubmitError) -> Vec<Done> {
        let Some(flight) = flight else { return self.drop_waiting(waiting) };
        let shared = flight.members.len() > 1;
        let mut done = tell(&flight, |member| {
            // With the store full, what only deletes must not share the fate of what it shared a batch with.
            let again = shared && member.only_deletes() && matches!(error, SubmitError::Storage(_));
            Err(if again { SubmitError::NotApplied } else { error.clone() })
        });
        let lowest = flight.members.first().map(|m| m.ticket);
        done.extend(self.drop_pending(lowest, waiting));
        done
    }

    fn deposed(&mut self, fate_of_flight: &SubmitError) -> Vec<Done> {
        self.stopped = Some(Stopped::Deposed);
        self.counters.fenced += u64::from(self.flight.is_some());
        let flight = self.flight.take();
        self.fail(flight, fate_of_flight, &SubmitError::NotActive)
    }
}

/// What the members of `flight` are told; nothing if they were told already that the outcome is unknown.
fn tell(flight: &Flight, result: impl Fn(&Member) -> Result<Head, SubmitError>) -> Vec<Done> {
    if flight.is_orphaned {
        return Vec::new();
    }
    flight.members.iter().map(|member| Done { id: member.id, result: result(member) }).collect()
}

enum Verdict {
    Applied,
    NotApplied,
    /// The head does not tell.
    Open,
}

/// What `seen`, a head that is or was stored, proves of the batch in flight. Sequence numbers grow by one with every
/// commit, so another batch at the same number means that ours can never be stored.
fn judge(flight: &Flight, seen: &Head) -> Verdict {
    if seen.batch_id == flight.next.batch_id {
        Verdict::Applied
    } else if seen.seq == flight.next.seq && seen.cluster == flight.next.cluster {
        Verdict::NotApplied
    } else {
        Verdict::Open
    }
}
