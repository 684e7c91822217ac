//! What was written lately, for telling whether a read is still true.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// The last commits of this epoch: which ticket each ended with, and which ticket last wrote each key.
#[derive(Debug)]
pub(super) struct History {
    /// Sequence number and last ticket of each remembered state, oldest first; never empty.
    states: VecDeque<State>,
    written: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct State {
    seq: u64,
    ticket: u64,
    keys: Vec<String>,
}

impl History {
    /// A history that knows one state: `seq`, before the first ticket.
    pub(super) fn starting_at(seq: u64) -> Self {
        Self {
            states: VecDeque::from([State { seq, ticket: 0, keys: Vec::new() }]),
            written: BTreeMap::new(),
        }
    }

    /// The last ticket that the state at `seq` holds; `None` if it is not remembered.
    pub(super) fn ticket_at(&self, seq: u64) -> Option<u64> {
        let at = self.states.partition_point(|state| state.seq <= seq);
        self.states.get(at.checked_sub(1)?).map(|state| state.ticket)
    }

    /// The last committed ticket.
    pub(super) fn newest_ticket(&self) -> u64 {
        self.states.back().map_or(0, |state| state.ticket)
    }

    /// Whether `key` was written after `ticket`, or that cannot be told any more.
    pub(super) fn is_written_since(&self, key: &str, ticket: u64) -> bool {
        self.is_forgotten(ticket) || self.written.get(key).is_some_and(|at| *at > ticket)
    }

    /// Whether a key below `prefix` was written after `ticket`, or that cannot be told any more.
    pub(super) fn is_written_below_since(&self, prefix: &str, ticket: u64) -> bool {
        self.is_forgotten(ticket)
            || self
                .written
                .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .any(|(_, at)| *at > ticket)
    }

    /// Notes a commit; the oldest states beyond `window` are forgotten.
    pub(super) fn record(
        &mut self,
        seq: u64,
        last_ticket: u64,
        keys: impl Iterator<Item = (String, u64)>,
        window: usize,
    ) {
        let mut names = Vec::new();
        for (key, ticket) in keys {
            self.written.insert(key.clone(), ticket);
            names.push(key);
        }
        self.states.push_back(State { seq, ticket: last_ticket, keys: names });
        while self.states.len() > window.max(1) + 1 {
            self.states.pop_front();
            // What the new oldest state wrote is part of it: only later writes can change a read of it.
            let Some(oldest) = self.states.front() else { break };
            for key in &oldest.keys {
                if self.written.get(key).is_some_and(|at| *at <= oldest.ticket) {
                    self.written.remove(key);
                }
            }
        }
    }

    /// Notes that pending writes of `keys` failed: by `ticket` they are again what they were. With `is_newest` no other
    /// write is pending, so that the newest state is the state as of `ticket`.
    pub(super) fn revert(&mut self, keys: &[String], ticket: u64, is_newest: bool) {
        for key in keys {
            self.written.insert(key.clone(), ticket);
        }
        if let Some(newest) = self.states.back_mut().filter(|_| is_newest) {
            newest.keys.extend_from_slice(keys);
            newest.ticket = ticket;
        }
    }

    fn is_forgotten(&self, ticket: u64) -> bool {
        self.states.front().is_some_and(|oldest| ticket < oldest.ticket)
    }
}
