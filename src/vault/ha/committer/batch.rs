//! Batches: how waiting transactions become one commit, and when it is sent.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::{Committer, Send, TxnId};
use crate::base::backoff::Backoff;
use crate::base::clock::{Moment, UnixMillis};
use crate::base::random::Random;
use crate::vault::physical::{BatchId, Head, Op, StorageError};

/// A transaction in the queue.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: TxnId,
    pub(super) ticket: u64,
    pub(super) writes: BTreeMap<String, Option<Bytes>>,
    pub(super) bytes: usize,
}

impl Member {
    pub(super) fn new(id: TxnId, ticket: u64, writes: BTreeMap<String, Option<Bytes>>) -> Self {
        let bytes = writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        Self { id, ticket, writes, bytes }
    }

    /// Whether it only makes room.
    pub(super) fn only_deletes(&self) -> bool {
        self.writes.values().all(Option::is_none)
    }
}

/// The one batch in flight.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) expected: Head,
    pub(super) next: Head,
    pub(super) members: Vec<Member>,
    /// Whether an answer is awaited.
    pub(super) on_the_wire: bool,
    /// When to send it again if no answer is awaited.
    pub(super) resend_at: Moment,
    pub(super) backoff: Backoff,
    /// Times it was sent.
    pub(super) sent: u32,
    /// Set once the head was seen to have moved on without proof of what became of the batch.
    pub(super) is_overtaken: bool,
    /// Members were told that the outcome is unknown; nobody waits for it any more.
    pub(super) is_orphaned: bool,
    /// Keys whose later writes failed while this was in flight, and the ticket that took those back.
    pub(super) reverted: Option<(u64, Vec<String>)>,
    /// Set after the storage refused the batch although an earlier copy may still arrive: the error, and the name of
    /// the refused batch. An empty commit is sent in its place, which settles the matter whichever of them lands.
    pub(super) refused: Option<(StorageError, BatchId)>,
}

impl Flight {
    /// The ticket that the state after this commit corresponds to.
    pub(super) fn last_ticket(&self) -> u64 {
        let newest = self.members.last().map_or(0, |m| m.ticket);
        self.reverted.as_ref().map_or(newest, |(ticket, _)| newest.max(*ticket))
    }

    /// The name of the batch that carries the members' writes.
    pub(super) fn member_batch(&self) -> BatchId {
        self.refused.as_ref().map_or(self.next.batch_id, |(_, batch)| *batch)
    }

    fn ops(&self) -> Vec<Op> {
        if self.refused.is_some() {
            return Vec::new();
        }
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut ops = Vec::new();
        for (key, value) in self.members.iter().flat_map(|member| &member.writes) {
            let op = match value {
                Some(value) => Op::Put { key: key.clone(), value: value.clone() },
                None => Op::Delete { key: key.clone() },
            };
            let place = *places.entry(key).or_insert(ops.len());
            match ops.get_mut(place) {
                // The later write counts.
                Some(earlier) => *earlier = op,
                None => ops.push(op),
            }
        }
        ops
    }
}

impl Committer {
    /// The commit to send now, if any: the next batch, or the one in flight again.
    pub fn poll(&mut self, now: Moment, wall: UnixMillis, random: &dyn Random) -> Option<Send> {
        if self.flight.is_none() {
            if self.suspended || self.stopped == Some(super::Stopped::Deposed) || self.waiting.is_empty() {
                return None;
            }
            self.flight = Some(self.gather(now, wall, random));
        }
        let flight = self.flight.as_mut()?;
        if self.suspended || flight.on_the_wire || flight.is_overtaken || flight.resend_at > now {
            return None;
        }
        flight.on_the_wire = true;
        flight.sent = flight.sent.saturating_add(1);
        Some(Send {
            expected: flight.expected.clone(),
            next: flight.next.clone(),
            ops: flight.ops(),
            again: flight.sent > 1,
        })
    }

    /// When [`Committer::poll`] has something to say although nothing happens meanwhile.
    pub fn wake_at(&self) -> Option<Moment> {
        let flight = self.flight.as_ref()?;
        (!flight.on_the_wire && !flight.is_overtaken).then_some(flight.resend_at)
    }

    fn gather(&mut self, now: Moment, wall: UnixMillis, random: &dyn Random) -> Flight {
        let mut members: Vec<Member> = Vec::new();
        let (mut operations, mut bytes) = (0, 0);
        while let Some(next) = self.waiting.front() {
            // Counted as if no key were shared: never above the limit, and no second pass.
            let fits = operations + next.writes.len() <= self.limits.operations
                && bytes + next.bytes <= self.limits.commit_bytes;
            if !fits && !members.is_empty() {
                break;
            }
            operations += next.writes.len();
            bytes += next.bytes;
            self.waiting_bytes -= next.bytes;
            members.extend(self.waiting.pop_front());
        }
        let next = Head {
            seq: self.head.seq + 1,
            batch_id: BatchId::new(random),
            time: self.time.advance(now, wall),
            ..self.head.clone()
        };
        Flight {
            expected: self.head.clone(),
            next,
            members,
            on_the_wire: false,
            resend_at: now,
            backoff: self.backoff(),
            sent: 0,
            is_overtaken: false,
            is_orphaned: false,
            reverted: None,
            refused: None,
        }
    }
}
