//! What clients want, and how the active node does it.

use bytes::Bytes;
use holdfast::vault::ha::election::Event as News;
use holdfast::vault::physical::{Head, Stamp, SubmitError, Transaction};

use super::answers::Asked;
use super::proofs::{Proof, Then};
use super::standby::StandbyRead;
use super::{Message, Node, node_of, number};
use crate::variant::Variant;
use crate::world::event::{Ask, Effect, NodeId, Reply, View};

/// How often a request runs again because another one changed what it had read.
const RUNS: u32 = 6;

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    Write { key: u32, value: u64 },
    Read { key: u32 },
    Increment { counter: u32 },
}

/// What a value is read for.
#[derive(Debug)]
pub(super) enum Get {
    Read { op: u64, epoch: u64, begun: Stamp },
    Increment { op: u64, epoch: u64, counter: u32, runs: u32 },
    Standby { op: u64, floor: Head },
}

impl Node {
    pub(super) fn client(&mut self, op: u64, want: Want, view: &View<'_>) {
        if self.serving && !self.holding && self.committer.is_some() {
            self.serve(op, want, view);
            return;
        }
        let leader = self.leader();
        match (want, leader) {
            (_, None) => self.reply(op, Reply::Refused),
            (Want::Read { key }, Some(to)) => {
                self.reads.insert(op, (key, StandbyRead::Index));
                self.out.push(Effect::Tell { to, message: Message::ReadIndex { op } });
            }
            (_, Some(to)) => self.out.push(Effect::Tell { to, message: Message::Forward { op } }),
        }
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        let active = self.election.lock().record()?.active.as_ref()?;
        node_of(&active.identity).filter(|id| *id != self.id)
    }

    pub(super) fn reply(&mut self, op: u64, reply: Reply) {
        self.out.push(Effect::Reply { op, reply });
    }

    /// Whether a request of this term waits for the storage.
    pub(super) fn is_reading(&self) -> bool {
        let is_request =
            |asked: &Asked| matches!(asked, Asked::Get { get: Get::Read { .. } | Get::Increment { .. }, .. });
        self.asked.values().any(is_request)
    }

    pub(super) fn serve(&mut self, op: u64, want: Want, view: &View<'_>) {
        match want {
            Want::Read { key } => self.read(op, key, view),
            Want::Increment { counter } => self.increment(op, counter, 0, view),
            Want::Write { key, value } => {
                let mut transaction = Transaction::default();
                transaction.writes.insert(format!("k{key}"), Some(Bytes::from(value.to_string())));
                if self.submit(op, transaction, Reply::Written).is_err() {
                    self.reply(op, Reply::Refused);
                }
            }
        }
    }

    fn submit(&mut self, op: u64, transaction: Transaction, reply: Reply) -> Result<(), SubmitError> {
        let committer = self.committer.as_mut().ok_or(SubmitError::NotActive)?;
        committer.submit(op, transaction)?;
        self.running.insert(op, reply);
        if self.variant == Variant::AcknowledgeBeforeCommit {
            self.reply(op, reply);
        }
        Ok(())
    }

    fn read(&mut self, op: u64, key: u32, view: &View<'_>) {
        let Some(committer) = &self.committer else { return self.reply(op, Reply::Refused) };
        let (epoch, begun) = (committer.acknowledged().epoch, committer.newest_stamp());
        let key = format!("k{key}");
        if !view.semantics.is_object() {
            return self.get(Get::Read { op, epoch, begun }, key, view);
        }
        let Some(newest) = committer.stamp_at(self.position) else { return self.reply(op, Reply::Refused) };
        let value = number(self.data.get(&key));
        self.await_proof(op, value, begun, newest);
    }

    /// What was read is answered once it is certain that this node leads.
    fn await_proof(&mut self, op: u64, value: u64, begun: Stamp, newest: Stamp) {
        if self.variant == Variant::NoReadLease {
            return self.reply(op, Reply::Value(value));
        }
        let then = Then::Reply(op, value);
        self.proofs.push(Proof { newest, begun, min_seq: None, needs: None, then });
    }

    fn increment(&mut self, op: u64, counter: u32, runs: u32, view: &View<'_>) {
        let Some(committer) = &self.committer else { return self.reply(op, Reply::Refused) };
        let epoch = committer.acknowledged().epoch;
        let key = format!("c{counter}");
        let pending = committer.pending(&key).filter(|_| self.variant != Variant::CommittedStateOnly);
        let local = committer.stamp_at(self.position).filter(|_| view.semantics.is_object());
        let local = local.map(|stamp| (self.data.get(&key).cloned(), stamp));
        match pending.or(local) {
            Some((value, stamp)) => self.count(op, counter, (value, stamp), runs, view),
            None if view.semantics.is_object() => self.reply(op, Reply::Refused),
            None => self.get(Get::Increment { op, epoch, counter, runs }, key, view),
        }
    }

    /// Stores the next number after what was read.
    fn count(
        &mut self,
        op: u64,
        counter: u32,
        (value, stamp): (Option<Bytes>, Stamp),
        runs: u32,
        view: &View<'_>,
    ) {
        let key = format!("c{counter}");
        let count = number(value.as_ref()) + 1;
        let mut transaction = Transaction::default();
        if self.variant != Variant::CommittedStateOnly {
            transaction.note_read(&key, stamp);
        }
        transaction.writes.insert(key, Some(Bytes::from(count.to_string())));
        match self.submit(op, transaction, Reply::Count(count)) {
            Ok(()) => {}
            Err(SubmitError::Conflict) if runs < RUNS => self.increment(op, counter, runs + 1, view),
            Err(_) => self.reply(op, Reply::Refused),
        }
    }

    /// Reads a value, from the cache or from the storage.
    pub(super) fn get(&mut self, get: Get, key: String, view: &View<'_>) {
        match (self.cache.get(&key, self.position), &self.last_head) {
            (Some(value), Some(head)) => {
                let head = head.clone();
                self.got(get, Some((value, head)), view);
            }
            _ => {
                let resets = self.cache.resets();
                self.ask(Asked::Get { get, key: key.clone(), resets }, Ask::Get { key });
            }
        }
    }

    /// A value has come, with the head of the same state; `None` is silence.
    pub(super) fn got(&mut self, get: Get, found: Option<(Option<Bytes>, Head)>, view: &View<'_>) {
        let Some((value, head)) = found else {
            let (Get::Read { op, .. } | Get::Increment { op, .. } | Get::Standby { op, .. }) = get;
            self.reads.remove(&op);
            return self.reply(op, Reply::Refused);
        };
        if self.election.highest().is_none_or(|highest| head.epoch > highest.epoch) {
            // Another epoch ends this term.
            if self.committer.as_ref().is_some_and(|committer| committer.acknowledged().epoch < head.epoch) {
                self.lease.renounce();
            }
            self.news(News::Saw(head.clone()), view);
        }
        match get {
            Get::Standby { op, floor } => self.standby_value(op, number(value.as_ref()), &floor, &head),
            Get::Read { op, epoch, begun } => match self.stamp_in(epoch, head.seq) {
                Some(newest) => self.await_proof(op, number(value.as_ref()), begun, newest),
                None => self.reply(op, Reply::Refused),
            },
            Get::Increment { op, epoch, counter, runs } => match self.stamp_in(epoch, head.seq) {
                Some(stamp) => self.count(op, counter, (value, stamp), runs, view),
                None => self.reply(op, Reply::Refused),
            },
        }
    }

    /// The stamp of a state in an epoch; `None` if this node does not lead in it any more.
    fn stamp_in(&self, epoch: u64, seq: u64) -> Option<Stamp> {
        let committer = self.committer.as_ref().filter(|one| one.acknowledged().epoch == epoch)?;
        Some(committer.stamp_at(seq).unwrap_or_default())
    }
}
