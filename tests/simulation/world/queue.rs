//! The calendar of a world: everything that is due, in the order of virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::event::{Ask, Event, Fault, Link, NodeId};
use crate::history::Time;
use crate::storage::objects::Request;
use crate::storage::{Change, Compare, Sender};

/// What arrives at the storage or the lock.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    Write(Compare, Change),
    /// A look at the head: by a commit, or as a check.
    Look {
        is_check: bool,
    },
    Get(String),
    Page(u64),
    Objects(Request),
    Lock(Ask),
}

#[derive(Debug)]
pub(super) enum Due<M> {
    Deliver {
        to: NodeId,
        incarnation: u64,
        event: Event<M>,
    },
    Arrive {
        sender: Sender,
        arrival: Arrival,
    },
    /// Statements that wait for the row of the head, or hold it, go on.
    Row,
    Fault(Fault),
    Resume(NodeId),
    Restart(NodeId),
    Heal(Link),
}

struct Scheduled<M> {
    at: Time,
    order: u64,
    due: Due<M>,
}

impl<M> PartialEq for Scheduled<M> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl<M> Eq for Scheduled<M> {}
impl<M> PartialOrd for Scheduled<M> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<M> Ord for Scheduled<M> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(super) struct Queue<M> {
    heap: BinaryHeap<Reverse<Scheduled<M>>>,
    order: u64,
}

impl<M> Queue<M> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), order: 0 }
    }

    pub(super) fn put(&mut self, at: Time, due: Due<M>) {
        self.order += 1;
        self.heap.push(Reverse(Scheduled { at, order: self.order, due }));
    }

    /// The next that is due until then.
    pub(super) fn take(&mut self, until: Time) -> Option<(Time, Due<M>)> {
        if self.heap.peek().is_none_or(|Reverse(next)| next.at > until) {
            return None;
        }
        self.heap.pop().map(|Reverse(next)| (next.at, next.due))
    }
}
