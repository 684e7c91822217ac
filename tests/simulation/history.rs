//! What clients saw, and whether one register that does everything at single moments could have shown it to them.
//!
//! Every write stores a value of its own, so the check needs no search (Gibbons and Korach, "Testing Shared Memories",
//! 1997): the operations on one value form a cluster; its zone runs between the earliest end and the latest begin
//! of its members. A history is linearizable if no read ends before its write begins, no two forward zones
//! overlap, and no backward zone lies inside a forward one.

use std::collections::BTreeMap;

/// Virtual time in microseconds.
pub type Time = u64;

/// A finished, or forever unfinished, operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A write of a value that no other write stores; `end` is `None` if its outcome is unknown.
    Write { key: u32, value: u64, begin: Time, end: Option<Time> },
    /// A read that was answered; zero is the value of a key never written.
    Read { key: u32, value: u64, begin: Time, end: Time },
    /// An increment of a counter that was answered with the new count.
    Increment { counter: u32, count: u64, begin: Time, end: Time },
    /// An increment whose outcome is unknown.
    MaybeIncrement { counter: u32 },
}

/// What is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

#[derive(Debug, Clone, Copy)]
struct Cluster {
    value: u64,
    write_begin: Time,
    first_end: Time,
    last_begin: Time,
    is_read: bool,
    is_acknowledged: bool,
}

/// An increment that was acknowledged: what the counter was then, and when it was asked for and answered.
type Counted = (u64, Time, Time);

/// Checks a history: registers for linearizability, counters for increments that were lost or carried out twice.
/// `counters` is what the store holds at the end.
pub fn check(history: &[Operation], counters: &BTreeMap<u32, u64>) -> Result<(), Violation> {
    let mut keys: BTreeMap<u32, Vec<&Operation>> = BTreeMap::new();
    let mut counts: BTreeMap<u32, (Vec<Counted>, u64)> = BTreeMap::new();
    for operation in history {
        match operation {
            Operation::Write { key, .. } | Operation::Read { key, .. } => {
                keys.entry(*key).or_default().push(operation);
            }
            Operation::Increment { counter, count, begin, end } => {
                counts.entry(*counter).or_default().0.push((*count, *begin, *end));
            }
            Operation::MaybeIncrement { counter } => counts.entry(*counter).or_default().1 += 1,
        }
    }
    for (key, operations) in keys {
        register(key, &operations)?;
    }
    for (counter, (done, maybe)) in counts {
        counter_is_right(counter, done, maybe, counters.get(&counter).copied().unwrap_or(0))?;
    }
    Ok(())
}

fn register(key: u32, operations: &[&Operation]) -> Result<(), Violation> {
    let mut clusters: BTreeMap<u64, Cluster> = BTreeMap::new();
    let initial = Cluster {
        value: 0,
        write_begin: 0,
        first_end: 0,
        last_begin: 0,
        is_read: false,
        is_acknowledged: true,
    };
    clusters.insert(0, initial);
    for operation in operations {
        if let Operation::Write { value, begin, end, .. } = operation {
            let cluster = Cluster {
                value: *value,
                write_begin: *begin,
                first_end: end.unwrap_or(Time::MAX),
                last_begin: *begin,
                is_read: false,
                is_acknowledged: end.is_some(),
            };
            if clusters.insert(*value, cluster).is_some() {
                return Err(Violation(format!("key {key}: value {value} is written twice by the test")));
            }
        }
    }
    for operation in operations {
        if let Operation::Read { value, begin, end, .. } = operation {
            let Some(cluster) = clusters.get_mut(value) else {
                return Err(Violation(format!("key {key}: {value} was read, but never written")));
            };
            if *end < cluster.write_begin {
                return Err(Violation(format!("key {key}: {value} was read before it was written")));
            }
            cluster.first_end = cluster.first_end.min(*end);
            cluster.last_begin = cluster.last_begin.max(*begin);
            cluster.is_read = true;
        }
    }
    let seen: Vec<Cluster> = clusters.into_values().filter(|c| c.is_read || c.is_acknowledged).collect();
    let (mut forward, backward): (Vec<_>, Vec<_>) =
        seen.into_iter().partition(|c| c.first_end < c.last_begin);
    forward.sort_by_key(|c| c.first_end);
    for pair in forward.windows(2) {
        if pair[1].first_end < pair[0].last_begin {
            return Err(Violation(format!(
                "key {key}: {} and {} each were current before and after the other",
                pair[0].value, pair[1].value
            )));
        }
    }
    for zone in backward {
        let (from, to) = (zone.last_begin, zone.first_end);
        if let Some(around) = forward.iter().find(|f| f.first_end < from && to < f.last_begin) {
            return Err(Violation(format!(
                "key {key}: {} was current all the while that {} was written or read",
                around.value, zone.value
            )));
        }
    }
    Ok(())
}

fn counter_is_right(counter: u32, mut done: Vec<Counted>, maybe: u64, stored: u64) -> Result<(), Violation> {
    done.sort_unstable();
    for pair in done.windows(2) {
        if pair[0].0 == pair[1].0 {
            return Err(Violation(format!("counter {counter}: two increments were answered {}", pair[0].0)));
        }
        if pair[1].2 < pair[0].1 {
            return Err(Violation(format!(
                "counter {counter}: {} was answered before {}",
                pair[1].0, pair[0].0
            )));
        }
    }
    let acknowledged = done.len() as u64;
    if stored < acknowledged || stored > acknowledged + maybe {
        return Err(Violation(format!(
            "counter {counter}: stands at {stored} after {acknowledged} acknowledged and {maybe} unknown increments"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: u64, begin: Time, end: Time) -> Operation {
        Operation::Write { key: 1, value, begin, end: Some(end) }
    }

    fn read(value: u64, begin: Time, end: Time) -> Operation {
        Operation::Read { key: 1, value, begin, end }
    }

    fn is_right(history: &[Operation]) -> bool {
        check(history, &BTreeMap::new()).is_ok()
    }

    #[test]
    fn sequential_histories_are_right() {
        assert!(is_right(&[write(1, 1, 2), read(1, 3, 4), write(2, 5, 6), read(2, 7, 8)]));
    }

    #[test]
    fn a_stale_read_is_found() {
        assert!(!is_right(&[write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)]));
        assert!(!is_right(&[write(1, 1, 2), read(0, 3, 4)]));
    }

    #[test]
    fn concurrent_reads_may_see_either_value() {
        assert!(is_right(&[write(1, 1, 2), write(2, 3, 10), read(1, 4, 5), read(2, 6, 7)]));
        assert!(!is_right(&[write(1, 1, 2), write(2, 3, 10), read(2, 4, 5), read(1, 6, 7)]));
    }

    #[test]
    fn an_unknown_write_may_be_seen_or_not_but_not_vanish() {
        let unknown = Operation::Write { key: 1, value: 9, begin: 3, end: None };
        assert!(is_right(&[write(1, 1, 2), unknown.clone(), read(1, 5, 6)]));
        assert!(is_right(&[write(1, 1, 2), unknown.clone(), read(1, 5, 6), read(9, 7, 8)]));
        assert!(!is_right(&[write(1, 1, 2), unknown, read(9, 5, 6), read(1, 7, 8)]));
    }

    #[test]
    fn a_lost_write_and_a_value_from_nowhere_are_found() {
        assert!(!is_right(&[write(1, 1, 2), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)]));
        assert!(!is_right(&[read(7, 1, 2)]));
    }

    #[test]
    fn counters_count_what_was_acknowledged() {
        let one = |count, begin, end| Operation::Increment { counter: 1, count, begin, end };
        let stands = |n| BTreeMap::from([(1, n)]);
        let maybe = Operation::MaybeIncrement { counter: 1 };
        assert!(check(&[one(1, 1, 2), one(2, 3, 4)], &stands(2)).is_ok());
        assert!(check(&[one(1, 1, 2), one(1, 3, 4)], &stands(1)).is_err());
        assert!(check(&[one(1, 1, 2)], &stands(0)).is_err());
        assert!(check(&[one(1, 1, 2)], &stands(2)).is_err());
        assert!(check(&[one(1, 1, 2), maybe], &stands(2)).is_ok());
    }
}
