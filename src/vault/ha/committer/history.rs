//! What was written lately, for telling whether a read is still true.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The last commits of this epoch: which ticket each ended with, and which ticket last wrote each key.
///
/// Every write of a request looks up what it read: with some ten thousand long keys that begin alike, an ordered map
/// would spend a third of the active node's time on comparing them. What was written below a prefix is asked less often and of
/// few states, whose own keys tell.
#[derive(Debug)]
pub(super) struct History {
    /// Sequence number and last ticket of each remembered state, oldest first; never empty.
    states: VecDeque<State>,
    written: HashMap<Arc<str>, u64>,
    /// Keys whose pending writes failed while an earlier batch was in flight: the next state will hold them.
    reverted: Vec<Arc<str>>,
}

#[derive(Debug)]
struct State {
    seq: u64,
    ticket: u64,
    keys: Vec<Arc<str>>,
}

impl History {
    /// A history that knows one state: `seq`, before the first ticket.
    pub(super) fn starting_at(seq: u64) -> Self {
        Self {
            states: VecDeque::from([State { seq, ticket: 0, keys: Vec::new() }]),
            written: HashMap::new(),
            reverted: Vec::new(),
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
        let is_newer =
            |key: &Arc<str>| key.starts_with(prefix) && self.written.get(key).is_some_and(|at| *at > ticket);
        // A state holds nothing that was written after its last ticket.
        let mut newer = self.states.iter().rev().take_while(|state| state.ticket > ticket);
        self.is_forgotten(ticket)
            || self.reverted.iter().any(is_newer)
            || newer.any(|state| state.keys.iter().any(is_newer))
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
            names.push(self.note(key, ticket));
        }
        names.append(&mut self.reverted);
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
    /// write is pending, so that the newest state is the state as of `ticket`; else the state that is recorded next will
    /// be told of them.
    pub(super) fn revert(&mut self, keys: &[String], ticket: u64, is_newest: bool) {
        for key in keys {
            let name = self.note(key.clone(), ticket);
            match self.states.back_mut() {
                Some(newest) if is_newest => newest.keys.push(name),
                _ => self.reverted.push(name),
            }
        }
        if let Some(newest) = self.states.back_mut().filter(|_| is_newest) {
            newest.ticket = ticket;
        }
    }

    /// Notes that `ticket` wrote `key`, whose text is kept once.
    fn note(&mut self, key: String, ticket: u64) -> Arc<str> {
        if let Some((name, _)) = self.written.get_key_value(key.as_str()) {
            let name = Arc::clone(name);
            self.written.insert(Arc::clone(&name), ticket);
            return name;
        }
        let name: Arc<str> = key.into();
        self.written.insert(Arc::clone(&name), ticket);
        name
    }

    fn is_forgotten(&self, ticket: u64) -> bool {
        self.states.front().is_some_and(|oldest| ticket < oldest.ticket)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::random::{Random, SeededRandom};

    /// A number below `limit`.
    fn below(random: &dyn Random, limit: u64) -> u64 {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % limit
    }

    #[test]
    fn it_tells_what_a_plain_list_of_all_writes_tells() {
        for seed in 0..200 {
            let random = SeededRandom::new(seed);
            let (mut history, mut model, mut ticket) = (History::starting_at(1), BTreeMap::new(), 0_u64);
            for seq in 2..40 {
                let key = || format!("{}/{}", below(&random, 3), below(&random, 4));
                let mut batch = Vec::new();
                for _ in 0..below(&random, 4) {
                    ticket += 1;
                    batch.push((key(), ticket));
                }
                let last = ticket;
                // While the batch is in flight, or after it, pending writes fail.
                let is_newest = below(&random, 2) == 0;
                let reverted: Vec<String> = (0..below(&random, 3)).map(|_| key()).collect();
                let revert = |history: &mut History, model: &mut BTreeMap<String, u64>, ticket: u64| {
                    history.revert(&reverted, ticket, is_newest);
                    model.extend(reverted.iter().map(|key| (key.clone(), ticket)));
                };
                ticket += 1;
                if is_newest {
                    history.record(seq, last, batch.clone().into_iter(), 5);
                    model.extend(batch);
                    revert(&mut history, &mut model, ticket);
                } else {
                    revert(&mut history, &mut model, ticket);
                    batch.retain(|(key, _)| !reverted.contains(key));
                    history.record(seq, ticket, batch.clone().into_iter(), 5);
                    model.extend(batch);
                }
                assert!(history.states.len() <= 6 && history.written.len() <= 12);
                let oldest = history.states.front().map_or(0, |state| state.ticket);
                for since in 0..=ticket {
                    for (group, name) in (0..3).flat_map(|group| (0..4).map(move |name| (group, name))) {
                        let (key, prefix) = (format!("{group}/{name}"), format!("{group}/"));
                        let is_newer = |(_, at): (&String, &u64)| *at > since;
                        let point = since < oldest || model.get_key_value(&key).is_some_and(is_newer);
                        assert_eq!(
                            history.is_written_since(&key, since),
                            point,
                            "{seed}: {key} since {since}"
                        );
                        let any = model.iter().filter(|(key, _)| key.starts_with(&prefix)).any(is_newer);
                        let below = since < oldest || any;
                        assert_eq!(
                            history.is_written_below_since(&prefix, since),
                            below,
                            "{seed}: {prefix} since {since}"
                        );
                    }
                }
            }
        }
    }
}
