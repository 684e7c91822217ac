//! Outcomes: what an answer, or the journal, says of the batch in flight.

use super::batch::Flight;
use super::{Committer, Done, Stopped};
use crate::base::clock::Moment;
use crate::base::random::Random;
use crate::vault::physical::{BatchId, Commit, Head, Journal, StorageError, SubmitError};

impl Committer {
    /// Takes the answer to a [`Send`](super::Send) whose next head carried `batch`; answers to anything but the batch
    /// in flight are ignored.
    pub fn on_commit(&mut self, batch: BatchId, answer: Commit, now: Moment, random: &dyn Random) -> Vec<Done> {
        let Some(flight) = self.flight.as_mut().filter(|f| f.next.batch_id == batch) else {
            return Vec::new();
        };
        flight.on_the_wire = false;
        match answer {
            Commit::Committed => self.applied(),
            Commit::Unknown { .. } => {
                flight.resend_at = now.plus(flight.backoff.next_delay(random));
                Vec::new()
            }
            // The only batch that can be refused for good is one that was never sent before: an earlier copy with an
            // unknown outcome may still arrive.
            Commit::Refused(error) if flight.sent == 1 => self.refused(&error),
            Commit::Refused(_) => {
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

    fn fenced(&mut self, current: Option<Head>, now: Moment, random: &dyn Random) -> Vec<Done> {
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
        let Some(flight) = self.flight.take() else { return Vec::new() };
        let last_ticket = flight.last_ticket();
        let keys = flight.members.iter().flat_map(|m| m.writes.keys().map(|key| (key.clone(), m.ticket)));
        self.history.record(flight.next.seq, last_ticket, keys, self.settings.window);
        self.overlay.retain(|_, (ticket, _)| *ticket > last_ticket);
        self.head = flight.next;
        let head = &self.head;
        flight.members.iter().map(|m| Done { id: m.id, result: Ok(head.clone()) }).collect()
    }

    fn refused(&mut self, error: &StorageError) -> Vec<Done> {
        let Some(flight) = self.flight.take() else { return Vec::new() };
        let mut done: Vec<Done> = flight
            .members
            .iter()
            .map(|m| {
                // With the store full, what only deletes must not share the fate of what it shared a batch with.
                let again = m.only_deletes() && flight.members.len() > 1;
                let error = if again { SubmitError::NotApplied } else { SubmitError::Storage(error.clone()) };
                Done { id: m.id, result: Err(error) }
            })
            .collect();
        // What waits may have read what was refused.
        done.extend(self.drop_waiting(&SubmitError::NotApplied));
        done
    }

    fn deposed(&mut self, fate_of_flight: &SubmitError) -> Vec<Done> {
        let members = self.flight.take().map(|f| f.members).unwrap_or_default();
        let mut done: Vec<Done> =
            members.iter().map(|m| Done { id: m.id, result: Err(fate_of_flight.clone()) }).collect();
        done.extend(self.stop(Stopped::Deposed));
        done
    }
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
