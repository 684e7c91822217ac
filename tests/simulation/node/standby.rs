//! Reads at a node that is not active.

use holdfast::vault::physical::Head;

use super::requests::Get;
use super::{Message, Node, number};
use crate::variant::Variant;
use crate::world::event::{Effect, Reply, View};

/// What a read waits for.
#[derive(Debug)]
pub(super) enum StandbyRead {
    Index,
    Reach(Head),
    /// The storage.
    Value,
    Confirm {
        value: u64,
    },
}

impl Node {
    pub(super) fn standby_head(&mut self, op: u64, head: Head) {
        match self.reads.remove(&op) {
            Some((key, StandbyRead::Index)) => {
                self.reads.insert(op, (key, StandbyRead::Reach(head)));
            }
            Some((_, StandbyRead::Confirm { value })) => {
                self.out.push(Effect::Reply { op, reply: Reply::Value(value) });
            }
            Some((key, waiting)) => {
                self.reads.insert(op, (key, waiting));
            }
            None => {}
        }
    }

    pub(super) fn answer_standby_reads(&mut self, view: &View<'_>) {
        let reached = |(op, (key, state)): (&u64, &(u32, StandbyRead))| match state {
            StandbyRead::Reach(floor) if self.position >= floor.seq => Some((*op, *key, floor.clone())),
            _ => None,
        };
        let ready: Vec<(u64, u32, Head)> = self.reads.iter().filter_map(reached).collect();
        for (op, key, floor) in ready {
            if view.semantics.is_object() {
                let value = number(self.data.get(&format!("k{key}")));
                self.shown(op, value, self.position, &floor);
            } else {
                self.reads.insert(op, (key, StandbyRead::Value));
                self.get(Get::Standby { op, floor }, format!("k{key}"), view);
            }
        }
    }

    /// A value has come from the storage.
    pub(super) fn standby_value(&mut self, op: u64, value: u64, floor: &Head, head: &Head) {
        if self.reads.contains_key(&op) {
            self.shown(op, value, head.seq, floor);
        }
    }

    /// Answers with a value of the state at `seq`, after the active node has acknowledged that if it is newer than `floor`.
    fn shown(&mut self, op: u64, value: u64, seq: u64, floor: &Head) {
        let Some((key, _)) = self.reads.remove(&op) else { return };
        let is_confirmed = seq <= floor.seq || self.variant == Variant::StandbyServesUnconfirmed;
        match (is_confirmed, self.leader()) {
            (true, _) => self.reply(op, Reply::Value(value)),
            (false, Some(to)) => {
                self.reads.insert(op, (key, StandbyRead::Confirm { value }));
                self.out.push(Effect::Tell { to, message: Message::ConfirmHead { op, seq } });
            }
            (false, None) => self.reply(op, Reply::Refused),
        }
    }
}
