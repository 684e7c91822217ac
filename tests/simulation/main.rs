//! The seeded simulation: nodes that elect, commit, forward, hand over, write segments and collect garbage in a world of
//! faults, and a check of what their clients saw and of what the store holds in the end.
//!
//! `HOLDFAST_SIM_SEEDS` says how many seeds are run (10,000 by default), `HOLDFAST_SIM_SEED` runs one and prints it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::large_enum_variant
)]
#![allow(missing_docs, unreachable_pub, clippy::cast_possible_truncation)]

mod follow;
mod history;
mod node;
mod objects;
mod segments;
mod variant;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast::base::random::Random;
use holdfast::vault::physical::{BatchId, Head};

use history::{Operation, Time, Violation};
use node::{Message, Node, Want};
use variant::{Variant, WRONG};
use world::{Fault, Reply, Step, Totals, World};

const SECOND: Time = 1_000_000;
const OPERATIONS: u64 = 200;
const KEYS: u64 = 4;
const COUNTERS: u64 = 2;
/// Clients ask until here; later the world is left alone, so that everything comes to its end.
const BUSY: Time = 40 * SECOND;
const END: Time = 75 * SECOND;

fn faults(world: &mut World<Message>) {
    let nodes = world.nodes();
    let places = nodes as u64 + 2;
    let count = 5 + world.random.below(6);
    for _ in 0..count {
        let at = 3 * SECOND + world.random.below(BUSY - 3 * SECOND);
        let node = world.random.below(nodes as u64) as usize;
        let span = 100_000 + world.random.below(12 * SECOND);
        let fault = match world.random.below(10) {
            0..=2 => Fault::Pause { node, span },
            3 | 4 => Fault::Crash { node, down: span },
            5..=7 => {
                let other = world.random.below(places) as usize;
                let link = if world.random.below(2) == 0 { (node, other) } else { (other, node) };
                Fault::Cut { link, span }
            }
            8 => Fault::EditLock,
            _ => Fault::DeleteLock,
        };
        world.plan(at, fault);
    }
}

fn wants(world: &mut World<Message>) -> Vec<Want> {
    let mut wants = Vec::new();
    for op in 0..OPERATIONS {
        let want = match world.random.below(10) {
            0..=2 => Want::Write { key: world.random.below(KEYS) as u32, value: op + 1 },
            3..=7 => Want::Read { key: world.random.below(KEYS) as u32 },
            _ => Want::Increment { counter: world.random.below(COUNTERS) as u32 },
        };
        // In bursts, so that requests meet in a batch.
        let at = SECOND + (op / 4) * (BUSY - SECOND) / (OPERATIONS / 4) + world.random.below(20_000);
        let node = world.random.below(world.nodes() as u64) as usize;
        world.client(at, node, op);
        wants.push(want);
    }
    for _ in 0..2 {
        usurp(world, &mut wants);
    }
    wants
}

/// The leader is cut off and slandered while clients write and read one key in quick succession.
fn usurp(world: &mut World<Message>, wants: &mut Vec<Want>) {
    let at = 14 * SECOND + world.random.below(BUSY - 14 * SECOND);
    world.plan(at, Fault::Usurp { span: 1_500_000 });
    for n in 0..40 {
        let op = wants.len() as u64;
        wants.push(if n % 2 == 0 { Want::Write { key: 0, value: op + 1 } } else { Want::Read { key: 0 } });
        let node = world.random.below(world.nodes() as u64) as usize;
        world.client(at + n * 15_000 + world.random.below(10_000), node, op);
    }
}

/// One whole run.
fn run(seed: u64, variant: Variant) -> Result<Totals, Violation> {
    let count = 3 + (seed % 3) as usize;
    let mut world: World<Message> = World::new(seed, count);
    world.compares_head = variant != Variant::NoHeadCompare;
    let founded = Head {
        cluster: "simulated".into(),
        lock: node::lock_name(),
        epoch: 1,
        seq: 1,
        batch_id: BatchId::new(&world.random),
        node: "init".into(),
        format: node::FORMAT,
        time: node::founding_time(),
    };
    world.found(founded);
    let mut nodes: Vec<Node> = (0..count).map(|id| Node::new(id, count, 1, variant)).collect();
    let wants = wants(&mut world);
    faults(&mut world);
    for _ in 0..world.random.below(3) {
        let at = 10 * SECOND + world.random.below(BUSY - 10 * SECOND);
        let id = world.random.below(count as u64) as usize;
        world.step_down_at(at, id, Message::StepDown);
    }
    let mut begun: Vec<Option<Time>> = vec![None; wants.len()];
    let mut ended: Vec<Option<(Time, Reply)>> = vec![None; wants.len()];
    loop {
        if let Some(damage) = world.objects.damage.take() {
            return Err(damage);
        }
        match world.step(END) {
            Step::Idle => break,
            Step::Lost(id) => {
                let identity = nodes[id].identity.clone();
                for to in (0..count).filter(|to| *to != id) {
                    world.tell(id, to, Message::Gone { identity: identity.clone() });
                }
                nodes[id] = Node::new(id, count, world.incarnation(id), variant);
            }
            Step::Slander(id) => {
                let identity = nodes[id].identity.clone();
                for to in (0..count).filter(|to| *to != id) {
                    world.tell(to, to, Message::Gone { identity: identity.clone() });
                }
            }
            Step::Handle { node: id, event } => {
                if let world::Event::Client { op } = &event {
                    begun[*op as usize] = Some(world.now);
                }
                nodes[id].handle(event, &world.view(id), &wants);
                let effects = std::mem::take(&mut nodes[id].out);
                for (op, reply) in world.apply(id, effects) {
                    ended[op as usize].get_or_insert((world.now, reply));
                }
            }
        }
    }
    judge(&world, &wants, &begun, &ended)?;
    world.objects.judge(&world.log, &world.store)?;
    let mut totals = world.totals.clone();
    totals.segments = world.objects.counts;
    totals.operations =
        ended.iter().flatten().filter(|(_, reply)| !matches!(reply, Reply::Refused)).count() as u64;
    totals.unknown +=
        ended.iter().filter(|end| matches!(end, None | Some((_, Reply::Unknown)))).count() as u64;
    Ok(totals)
}

fn judge(
    world: &World<Message>,
    wants: &[Want],
    begun: &[Option<Time>],
    ended: &[Option<(Time, Reply)>],
) -> Result<(), Violation> {
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
    let mut counters = BTreeMap::new();
    for counter in 0..COUNTERS as u32 {
        let stored = world.store.get(&format!("c{counter}")).ok().and_then(|v| v.value);
        let count = stored.map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap_or(0));
        counters.insert(counter, count);
    }
    history::check(&history, &counters)?;
    let mut last = (0, String::new());
    for entry in &world.log {
        let head = &entry.journal.head;
        if head.epoch < last.0 {
            return Err(Violation(format!("epoch {} was written after epoch {}", head.epoch, last.0)));
        }
        if head.epoch == last.0 && head.node != last.1 && head.epoch > 1 {
            return Err(Violation(format!(
                "epoch {} was written by {} and {}",
                head.epoch, last.1, head.node
            )));
        }
        last = (head.epoch, head.node.clone());
    }
    Ok(())
}

/// Runs seeds on every core; the first violation ends it.
fn run_all(seeds: u64, variant: Variant) -> Result<Totals, (u64, Violation)> {
    let next = AtomicU64::new(0);
    let found = Mutex::new(None);
    let totals = Mutex::new(Totals::default());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds || found.lock().unwrap().is_some() {
                        break;
                    }
                    match run(seed, variant) {
                        Ok(one) => totals.lock().unwrap().add(&one),
                        Err(violation) => *found.lock().unwrap() = Some((seed, violation)),
                    }
                }
            });
        }
    });
    match found.into_inner().unwrap() {
        Some(found) => Err(found),
        None => Ok(totals.into_inner().unwrap()),
    }
}

#[test]
fn the_design_holds_under_every_seed() {
    if let Some(seed) = std::env::var("HOLDFAST_SIM_SEED").ok().and_then(|s| s.parse().ok()) {
        println!("seed {seed}: {:?}", run(seed, Variant::Right));
        return;
    }
    let seeds = std::env::var("HOLDFAST_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10_000);
    match run_all(seeds, Variant::Right) {
        Ok(totals) => {
            let segments = &totals.segments;
            println!(
                "{seeds} seeds: {} operations, {} claims, {} fenced and {} unknown outcomes, {} faults",
                totals.operations, totals.claims, totals.fenced, totals.unknown, totals.faults
            );
            assert!(totals.operations > 0 && totals.claims > 0 && totals.fenced > 0 && totals.unknown > 0);
            println!(
                "{} segments were written and loaded from {} times; {} objects were collected as garbage, {} of them \
                 when their collector had been deposed, and {} were left",
                segments.written, segments.loads, segments.collected, segments.collected_late, segments.left
            );
            assert!(segments.written > 0 && segments.loads > 0);
            assert!(segments.collected > 0);
            assert!(segments.collected_late > 0 || seeds < 1_000, "late deletions arrive as well");
            assert!(totals.faults >= 5 * seeds, "every run has its faults");
            assert!(totals.operations > seeds * OPERATIONS / 3, "the cluster serves most of the time");
        }
        Err((seed, violation)) => panic!("seed {seed}: {}", violation.0),
    }
}

#[test]
fn every_wrong_variant_is_caught() {
    let only = std::env::var("HOLDFAST_SIM_VARIANT").ok();
    for variant in WRONG {
        if only.as_ref().is_some_and(|name| *name != format!("{variant:?}")) {
            continue;
        }
        match run_all(1_000, variant) {
            Err((seed, violation)) => println!("{variant:?}: caught by seed {seed}: {}", violation.0),
            Ok(_) => panic!("{variant:?} was not caught in 1,000 seeds"),
        }
    }
}

#[test]
fn a_seed_is_a_whole_run() {
    let once = run(7, Variant::Right).unwrap();
    let twice = run(7, Variant::Right).unwrap();
    assert_eq!(format!("{once:?}"), format!("{twice:?}"));
}
