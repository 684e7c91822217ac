//! The seeded simulation: nodes that elect, commit, forward, hand over, write segments and collect garbage in a world of
//! faults, on every storage's promises about commits, and a check of what their clients saw and of what the store holds
//! in the end.
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

mod crash;
mod history;
mod judge;
mod node;
mod run;
mod storage;
mod variant;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use history::Violation;
use run::{OPERATIONS, Scenario, run};
use storage::Semantics;
use variant::WRONG;
use world::Totals;

/// Runs `count` scenarios on every core; the first violation ends it. The outcomes are in no order.
fn run_many<T: Send>(
    count: u64,
    one: impl Fn(u64) -> Result<T, Violation> + Sync,
) -> Result<Vec<T>, (u64, Violation)> {
    let next = AtomicU64::new(0);
    let found = Mutex::new(None);
    let outcomes = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= count || found.lock().unwrap().is_some() {
                        break;
                    }
                    match one(number) {
                        Ok(outcome) => outcomes.lock().unwrap().push(outcome),
                        Err(violation) => *found.lock().unwrap() = Some((number, violation)),
                    }
                }
            });
        }
    });
    match found.into_inner().unwrap() {
        Some(found) => Err(found),
        None => Ok(outcomes.into_inner().unwrap()),
    }
}

/// The totals of `seeds` seeds by storage.
fn run_seeds(seeds: u64) -> Result<BTreeMap<Semantics, Totals>, (u64, Violation)> {
    let outcomes = run_many(seeds, |seed| {
        let scenario = Scenario::of(seed);
        run(&scenario).map(|run| (scenario.semantics, run.totals))
    })?;
    let mut totals: BTreeMap<Semantics, Totals> = BTreeMap::new();
    for (semantics, one) in outcomes {
        totals.entry(semantics).or_default().add(&one);
    }
    Ok(totals)
}

#[test]
fn the_design_holds_under_every_seed() {
    if let Some(seed) = std::env::var("HOLDFAST_SIM_SEED").ok().and_then(|s| s.parse().ok()) {
        let scenario = Scenario::of(seed);
        let totals = run(&scenario).map(|run| run.totals);
        println!("seed {seed} on {}: {totals:?}", scenario.semantics.name());
        return;
    }
    let seeds = std::env::var("HOLDFAST_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10_000);
    let totals = match run_seeds(seeds) {
        Ok(totals) => totals,
        Err((seed, violation)) => {
            let semantics = Scenario::of(seed).semantics.name();
            panic!("seed {seed} on {semantics}: {}", violation.0)
        }
    };
    assert_eq!(totals.len(), Semantics::ALL.len(), "every storage has its share");
    for (semantics, one) in &totals {
        print_totals(semantics.name(), one);
        assert!(one.operations > 0 && one.claims > 0 && one.fenced > 0 && one.unknown > 0);
        assert!(one.faults >= 5 * one.runs, "every run has its faults");
        assert!(one.operations > one.runs * OPERATIONS / 3, "the cluster serves most of the time");
    }
    let segments = &totals[&Semantics::Kubernetes].segments;
    println!(
        "{} segments were written and loaded from {} times; {} objects were collected as garbage, {} of them when their \
         collector had been deposed, and {} were left",
        segments.written, segments.loads, segments.collected, segments.collected_late, segments.left
    );
    assert!(segments.written > 0 && segments.loads > 0);
    assert!(segments.collected > 0);
    assert!(segments.collected_late > 0 || seeds < 5_000, "late deletions arrive as well");
    let row = &totals[&Semantics::Postgresql];
    assert!(row.late > 0 && row.ended > 0, "statements commit late, and claims end sessions");
}

fn print_totals(storage: &str, totals: &Totals) {
    println!(
        "{storage}: {} seeds, {} operations, {} claims, {} fenced and {} unknown outcomes, {} faults{}",
        totals.runs,
        totals.operations,
        totals.claims,
        totals.fenced,
        totals.unknown,
        totals.faults,
        match (totals.late, totals.ended) {
            (0, 0) => String::new(),
            (late, ended) => format!(", {late} late commits, {ended} sessions ended by claims"),
        }
    );
}

/// On every storage that it can be wrong on, each within 1,000 seeds.
#[test]
fn every_wrong_variant_is_caught() {
    let only = std::env::var("HOLDFAST_SIM_VARIANT").ok();
    for variant in WRONG {
        if only.as_ref().is_some_and(|name| *name != format!("{variant:?}")) {
            continue;
        }
        for semantics in variant.semantics() {
            let caught = run_many(1_000, |seed| run(&Scenario::on(*semantics, seed, variant)).map(|_| ()));
            match caught {
                Err((seed, violation)) => {
                    println!("{variant:?} on {}: caught by seed {seed}: {}", semantics.name(), violation.0);
                }
                Ok(_) => panic!("{variant:?} on {} was not caught in 1,000 seeds", semantics.name()),
            }
        }
    }
}

#[test]
fn a_seed_is_a_whole_run() {
    for seed in [7, 10, 13, 16, 19] {
        let scenario = Scenario::of(seed);
        let totals = || format!("{:?}", run(&scenario).map(|run| run.totals));
        assert_eq!(totals(), totals(), "{}", scenario.semantics.name());
    }
}
