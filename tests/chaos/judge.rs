//! Whether what clients saw, what the journal holds and what is stored in the end agree with the promises.
//!
//! The names are those of the checks: C1 linearizable registers, C2 no acknowledged write lost, C3 epochs never go back,
//! C4 nothing carried out twice, C5 revoked and used-up tokens stay so, C6 answers never go back, C7 one writer in an
//! epoch, C8 all nodes hold the same in the end.

use std::collections::BTreeMap;

use crate::history::{self, Operation};
use crate::record::{Event, Outcome, Time, What};

/// A commit in the journal, as far as it is judged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    pub cluster: String,
    pub epoch: u64,
    pub seq: u64,
    pub batch: String,
    pub node: String,
    /// For a claim: the batch that it replaced.
    pub replaced: Option<String>,
    /// Whether the feed lost the thread just before.
    pub follows_reset: bool,
}

/// What is stored after the last fault has healed.
#[derive(Debug, Clone, Default)]
pub struct Final {
    /// By register, what each node answers.
    pub registers: BTreeMap<u32, Vec<u64>>,
    /// By counter, what each node answers.
    pub counters: BTreeMap<u32, Vec<u64>>,
    /// Tokens that exist, those of before the run left out.
    pub tokens: usize,
}

/// Everything that is wrong.
pub fn judge(events: &[Event], journal: &[Row], stored: &Final) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(registers_and_counters(events, stored));
    wrong.extend(tokens(events, stored.tokens));
    wrong.extend(indexes(events, journal));
    wrong.extend(epochs(journal));
    wrong.extend(same_everywhere(stored));
    wrong
}

/// C1, C2 and C4 for values; each key is judged by itself so that one violation hides no other.
pub fn registers_and_counters(events: &[Event], stored: &Final) -> Vec<String> {
    let last = events.iter().map(|event| event.end).max().unwrap_or(0);
    let mut histories: BTreeMap<(bool, u32), Vec<Operation>> = BTreeMap::new();
    for event in events {
        if let Some((at, operation)) = operation(event) {
            histories.entry(at).or_default().push(operation);
        }
    }
    // What is stored in the end is one more read, after everything else.
    for (key, values) in &stored.registers {
        let reads = values.iter().map(|value| Operation::Read {
            key: *key,
            value: *value,
            begin: last + 1,
            end: last + 2,
        });
        histories.entry((false, *key)).or_default().extend(reads);
    }
    let counters = stored.counters.iter().filter_map(|(at, values)| Some((*at, *values.first()?))).collect();
    let checked = histories.values().map(|operations| history::check(operations, &counters));
    checked.filter_map(Result::err).map(|violation| format!("C1 C2 C4: {}", violation.0)).collect()
}

fn operation(event: &Event) -> Option<((bool, u32), Operation)> {
    let (begin, end) = (event.begin, event.end);
    Some(match (&event.what, event.outcome) {
        (What::Write { key, value }, Outcome::Done | Outcome::Unknown) => {
            let end = (event.outcome == Outcome::Done).then_some(end);
            ((false, *key), Operation::Write { key: *key, value: *value, begin, end })
        }
        (What::Read { key, value }, Outcome::Done) => {
            ((false, *key), Operation::Read { key: *key, value: *value, begin, end })
        }
        (What::Increment { counter, count }, Outcome::Done) => {
            ((true, *counter), Operation::Increment { counter: *counter, count: *count, begin, end })
        }
        (What::Increment { counter, .. }, Outcome::Unknown) => {
            ((true, *counter), Operation::MaybeIncrement { counter: *counter })
        }
        _ => return None,
    })
}

#[derive(Default)]
struct Token {
    created: Option<Time>,
    limit: u32,
    /// Earliest begin of an attempt to revoke it.
    endangered: Option<Time>,
    /// Earliest end of an acknowledged revoke.
    revoked: Option<Time>,
    accepted: u32,
    is_known: bool,
}

/// C5, and for tokens C2 and C4.
pub fn tokens(events: &[Event], stored: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut all: BTreeMap<u32, Token> = BTreeMap::new();
    let (mut created, mut maybe, mut gone) = (0_usize, 0_usize, 0_usize);
    for event in events {
        match (&event.what, event.outcome) {
            (What::CreateToken { token, uses }, Outcome::Done) => {
                created += 1;
                let entry = all.entry(*token).or_default();
                (entry.created, entry.limit, entry.is_known) = (Some(event.end), *uses, true);
            }
            (What::CreateToken { .. }, Outcome::Unknown) => maybe += 1,
            (What::UseToken { token }, Outcome::Done) => all.entry(*token).or_default().accepted += 1,
            (What::RevokeToken { token }, outcome) if outcome != Outcome::Refused => {
                let entry = all.entry(*token).or_default();
                entry.endangered = Some(entry.endangered.map_or(event.begin, |time| time.min(event.begin)));
                if outcome == Outcome::Done {
                    gone += usize::from(entry.revoked.is_none());
                    entry.revoked = Some(entry.revoked.map_or(event.end, |time| time.min(event.end)));
                }
            }
            _ => {}
        }
    }
    for event in events {
        let What::UseToken { token } = event.what else { continue };
        let Some(entry) = all.get(&token) else { continue };
        let is_late = entry.revoked.is_some_and(|time| event.begin > time);
        if event.outcome == Outcome::Done && is_late {
            wrong.push(format!(
                "C5: node {} accepted token {token} at {} us, revoked by {} us",
                event.node,
                event.begin,
                entry.revoked.unwrap_or(0)
            ));
        }
        let is_safe = entry.limit == 0
            && entry.created.is_some_and(|time| event.begin > time)
            && entry.endangered.is_none_or(|time| event.end < time);
        if event.outcome == Outcome::Refused && is_safe {
            wrong.push(format!(
                "C2: node {} refused token {token} at {} us, which nobody revoked: {}",
                event.node, event.begin, event.note
            ));
        }
    }
    for (token, entry) in all.iter().filter(|(_, entry)| entry.limit > 0) {
        if entry.accepted > entry.limit {
            wrong.push(format!(
                "C5: token {token} of {} uses was accepted {} times",
                entry.limit, entry.accepted
            ));
        }
    }
    // A token that is used up may lie there until it is swept.
    let most = (created + maybe).saturating_sub(gone);
    if stored > most {
        wrong.push(format!(
            "C4: {stored} tokens are stored after {created} acknowledged and {maybe} unknown creations and {gone} revokes"
        ));
    }
    wrong
}

/// C6, and that every state that a client was shown is one that the journal knows.
pub fn indexes(events: &[Event], journal: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut latest: BTreeMap<u32, (u64, Time)> = BTreeMap::new();
    let mut in_order: Vec<&Event> = events.iter().collect();
    in_order.sort_by_key(|event| (event.client, event.begin));
    let end = journal.last();
    for event in in_order {
        let Some(index) = &event.index else { continue };
        if let Some((seq, time)) = latest.get(&event.client)
            && index.seq < *seq
        {
            wrong.push(format!(
                "C6: client {} was shown state {} at {} us by node {} after state {seq} at {time} us",
                event.client, index.seq, event.begin, event.node
            ));
        }
        latest.insert(event.client, (index.seq, event.begin));
        let is_known = end.is_none_or(|row| row.cluster == index.cluster && index.seq <= row.seq);
        if !is_known {
            wrong.push(format!(
                "C3: node {} showed state {}, which the journal does not have",
                event.node, index.seq
            ));
        }
    }
    wrong
}

/// C3 and C7: the journal is one line of commits in which epochs grow by claims alone and have one writer each.
pub fn epochs(journal: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut writers: BTreeMap<u64, &str> = BTreeMap::new();
    for row in journal {
        let writer = writers.entry(row.epoch).or_insert(&row.node);
        if *writer != row.node {
            wrong.push(format!("C7: {} and {} both wrote in epoch {}", writer, row.node, row.epoch));
        }
    }
    for pair in journal.windows(2) {
        let (before, row) = (&pair[0], &pair[1]);
        let at = format!("at epoch {} seq {}", row.epoch, row.seq);
        if row.cluster != before.cluster {
            wrong.push(format!("C3: another cluster {at}"));
        }
        if (row.epoch, row.seq) <= (before.epoch, before.seq) || row.seq <= before.seq {
            wrong.push(format!("C3: epoch {} seq {} before, {at} after", before.epoch, before.seq));
            continue;
        }
        if row.follows_reset {
            continue;
        }
        if row.seq != before.seq + 1 {
            wrong.push(format!("C3: seq {} before, {at} after", before.seq));
        }
        match &row.replaced {
            Some(batch) if row.epoch != before.epoch + 1 || *batch != before.batch => {
                wrong.push(format!("C3: a claim {at} replaced {batch}, not what was before it"));
            }
            None if row.epoch != before.epoch => wrong.push(format!("C3: an epoch without a claim {at}")),
            _ => {}
        }
    }
    wrong
}

/// C8.
pub fn same_everywhere(stored: &Final) -> Vec<String> {
    let named = |what: &'static str, values: &BTreeMap<u32, Vec<u64>>| {
        let differs = |values: &&Vec<u64>| values.windows(2).any(|pair| pair[0] != pair[1]);
        let wrong = values.iter().filter(|(_, values)| differs(values));
        wrong
            .map(|(at, values)| format!("C8: the nodes answer {what} {at} with {values:?}"))
            .collect::<Vec<_>>()
    };
    [named("register", &stored.registers), named("counter", &stored.counters)].concat()
}
