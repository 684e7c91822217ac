//! A crash at every step of a promotion and of a handover, on every storage: after each effect that the node has on
//! anybody else, one run each.

use crate::history::{Time, Violation};
use crate::run::{BUSY, Crash, END, Run, SECOND, Scenario, run};
use crate::run_many;
use crate::storage::Semantics;
use crate::variant::Variant;
use crate::world::event::NodeId;

/// When the handover begins.
const STEP_DOWN: Time = 14 * SECOND;
/// By then somebody else must serve: a lease, a failed attempt or two, and packets that are late.
const SOON: Time = 16 * SECOND;
/// A node stays away, or its process begins anew at once.
const DOWN: [Time; 2] = [END, SECOND / 2];
/// Seeds of each storage: three, four and five nodes.
const SEEDS: u64 = 3;

fn calm(seed: u64, semantics: Semantics, step_down: Option<Time>) -> Scenario {
    Scenario { seed, semantics, variant: Variant::Right, is_calm: true, step_down, crash: None }
}

/// Effects of a node in a span of time.
fn effects(run: &Run, node: NodeId, from: Time, to: Time) -> u64 {
    run.effects.iter().filter(|(at, id)| *id == node && (from..=to).contains(at)).count() as u64
}

/// The scenarios in which `node` crashes after each of its effects between `from` and `to`, for long and for a moment.
fn every_step(calm: &Scenario, run: &Run, node: NodeId, from: Time, to: Time) -> Vec<Scenario> {
    let count = effects(run, node, from, to);
    assert!(
        count >= 5,
        "{}: a node with {count} effects did nothing to be crashed in",
        calm.semantics.name()
    );
    let steps = (0..=count).flat_map(|after| DOWN.map(|down| Crash { node, after, since: from, down }));
    steps.map(|crash| Scenario { crash: Some(crash), ..calm.clone() }).collect()
}

/// The first answer to a write after `at`.
fn acknowledged_after(run: &Run, at: Time) -> Time {
    run.acknowledged.iter().copied().find(|time| *time > at).expect("a calm run acknowledges writes")
}

/// How long after the crash somebody serves. Another node does, and stores what clients want, soon enough; or the same
/// one, if its process is back.
fn replaced_after(scenario: &Scenario, run: &Run) -> Result<Time, Violation> {
    let crash = scenario.crash.expect("a crash");
    let told = |what: &str| {
        let storage = scenario.semantics.name();
        Violation(format!("{storage}, seed {}, {crash:?}: {what}", scenario.seed))
    };
    let at = run.crashed_at.ok_or_else(|| told("the node did not crash"))?;
    // Somebody else may serve already when the old one crashes.
    let last = run.served.iter().rfind(|(time, _)| *time <= at);
    let is_served = last.is_some_and(|(_, id)| *id != crash.node);
    let mut next =
        run.served.iter().filter(|(time, id)| *time > at && (*id != crash.node || crash.down < END));
    let serves = if is_served { Some(at) } else { next.next().map(|(time, _)| *time) };
    let serves = serves.ok_or_else(|| told("nobody ever served again"))?;
    let stores = run.acknowledged.iter().find(|time| **time > serves);
    let stores = stores.copied().ok_or_else(|| told("nothing was stored after it"))?;
    if serves > at + SOON || stores > at + SOON + SECOND {
        return Err(told(&format!("served after {} us, stored after {} us", serves - at, stores - at)));
    }
    Ok(serves - at)
}

fn crash_everywhere(what: &str, scenarios: Vec<Scenario>) {
    assert!(scenarios.iter().all(|one| one.crash.is_some_and(|crash| crash.since + SOON < BUSY)));
    let judged = run_many(scenarios.len() as u64, |n| {
        let scenario = &scenarios[n as usize];
        let run = run(scenario).map_err(|violation| {
            let at = format!("{}, seed {}, {:?}", scenario.semantics.name(), scenario.seed, scenario.crash);
            Violation(format!("{at}: {}", violation.0))
        })?;
        replaced_after(scenario, &run).map(|gap| (scenario.semantics, gap))
    });
    let gaps = judged.unwrap_or_else(|(_, violation)| panic!("{what}: {}", violation.0));
    for semantics in Semantics::ALL {
        let of = gaps.iter().filter(|(storage, _)| *storage == semantics).map(|(_, gap)| *gap);
        let (count, most) = (of.clone().count(), of.max().unwrap_or_default());
        println!("{what}, {}: {count} crashes, replaced after {} ms at most", semantics.name(), most / 1000);
        assert!(count > 0);
    }
}

/// Runs of the first seeds without a crash, as many for each storage, that have what `of` looks for. (Even a calm network
/// loses a message now and then, and with it a handover.)
fn calm_runs<T>(step_down: Option<Time>, of: impl Fn(&Run) -> Option<T>) -> Vec<(Scenario, Run, T)> {
    let mut found = Vec::new();
    for semantics in Semantics::ALL {
        let runs = (0..3 * SEEDS).filter_map(|seed| {
            let scenario = calm(seed, semantics, step_down);
            let run = run(&scenario).unwrap_or_else(|violation| panic!("{scenario:?}: {}", violation.0));
            of(&run).map(|what| (scenario, run, what))
        });
        let before = found.len();
        found.extend(runs.take(SEEDS as usize));
        assert_eq!(found.len() - before, SEEDS as usize, "{}: most calm runs succeed", semantics.name());
    }
    found
}

#[test]
fn a_crash_at_any_step_of_a_promotion_leaves_another_leader() {
    let mut scenarios = Vec::new();
    for (calm, run, (at, node)) in calm_runs(None, |run| run.served.first().copied()) {
        // From its first effect to the first write that it acknowledges.
        let until = acknowledged_after(&run, at);
        scenarios.extend(every_step(&calm, &run, node, 0, until));
    }
    crash_everywhere("promotion", scenarios);
}

/// The nodes that led before and after a handover, and when the first write after it was acknowledged; `None` if it
/// failed.
fn handed_over(run: &Run) -> Option<(NodeId, NodeId, Time)> {
    let (_, old) = run.served.iter().rfind(|(at, _)| *at < STEP_DOWN)?;
    let (at, new) = run.served.iter().find(|(at, _)| *at > STEP_DOWN)?;
    (old != new && *at < STEP_DOWN + 2 * SECOND).then(|| (*old, *new, acknowledged_after(run, *at)))
}

#[test]
fn a_crash_of_the_old_leader_at_any_step_of_a_handover_leaves_another_leader() {
    let mut scenarios = Vec::new();
    for (calm, run, (old, _, until)) in calm_runs(Some(STEP_DOWN), handed_over) {
        scenarios.extend(every_step(&calm, &run, old, STEP_DOWN, until));
    }
    crash_everywhere("handover, old leader", scenarios);
}

#[test]
fn a_crash_of_the_successor_at_any_step_of_a_handover_leaves_another_leader() {
    let mut scenarios = Vec::new();
    for (calm, run, (_, new, until)) in calm_runs(Some(STEP_DOWN), handed_over) {
        scenarios.extend(every_step(&calm, &run, new, STEP_DOWN, until));
    }
    crash_everywhere("handover, successor", scenarios);
}
