//! What must hold of every run.

use std::collections::BTreeMap;

use crate::history::{self, Operation, Time, Violation};
use crate::node::{Message, Want};
use crate::run::COUNTERS;
use crate::world::World;
use crate::world::event::Reply;

/// Judges what clients saw, and what was committed.
pub fn judge(
    world: &World<Message>,
    wants: &[Want],
    begun: &[Option<Time>],
    ended: &[Option<(Time, Reply)>],
) -> Result<(), Violation> {
    let content = world.storage.content();
    let counted = |counter: u32| {
        let stored = content.get(&format!("c{counter}"));
        stored.map_or(0, |value| String::from_utf8_lossy(value).parse().unwrap_or(0))
    };
    let counters: BTreeMap<u32, u64> =
        (0..COUNTERS as u32).map(|counter| (counter, counted(counter))).collect();
    history::check(&operations(wants, begun, ended)?, &counters)?;
    one_writer_an_epoch(world)?;
    match &world.storage.misfit {
        None => Ok(()),
        Some(head) => Err(Violation(format!(
            "commit {} of epoch {} was stored after another head than it expected",
            head.seq, head.epoch
        ))),
    }
}

/// What clients did and saw.
fn operations(
    wants: &[Want],
    begun: &[Option<Time>],
    ended: &[Option<(Time, Reply)>],
) -> Result<Vec<Operation>, Violation> {
    let mut history = Vec::new();
    for (op, want) in wants.iter().enumerate() {
        // What never arrived (the node was down) never happened.
        let Some(begin) = begun[op] else { continue };
        match (want, ended[op]) {
            (_, Some((_, Reply::Refused))) | (Want::Read { .. }, None | Some((_, Reply::Unknown))) => {}
            (Want::Write { key, value }, Some((end, Reply::Written))) => {
                history.push(Operation::Write { key: *key, value: *value, begin, end: Some(end) });
            }
            (Want::Write { key, value }, _) => {
                history.push(Operation::Write { key: *key, value: *value, begin, end: None });
            }
            (Want::Read { key }, Some((end, Reply::Value(value)))) => {
                history.push(Operation::Read { key: *key, value, begin, end });
            }
            (Want::Increment { counter }, Some((end, Reply::Count(count)))) => {
                history.push(Operation::Increment { counter: *counter, count, begin, end });
            }
            (Want::Increment { counter }, _) => history.push(Operation::MaybeIncrement { counter: *counter }),
            (want, reply) => return Err(Violation(format!("{want:?} was answered {reply:?}"))),
        }
    }
    Ok(history)
}

fn one_writer_an_epoch(world: &World<Message>) -> Result<(), Violation> {
    let mut last = (0, String::new());
    for entry in &world.storage.log {
        let head = &entry.journal.head;
        if head.epoch < last.0 {
            return Err(Violation(format!("epoch {} was written after epoch {}", head.epoch, last.0)));
        }
        if head.epoch > last.0 + 1 {
            return Err(Violation(format!("epoch {} was written after epoch {}", head.epoch, last.0)));
        }
        if head.epoch == last.0 && *head.node != *last.1 && head.epoch > 1 {
            return Err(Violation(format!(
                "epoch {} was written by {} and {}",
                head.epoch, last.1, head.node
            )));
        }
        last = (head.epoch, head.node.to_string());
    }
    Ok(())
}
