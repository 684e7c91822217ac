//! Clusters that are wrong in one rule each, on a real storage: the harness must see it, and must see nothing where
//! nothing is wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};

use crate::audit::Audit;
use crate::judge::{self, Final};
use crate::load::{COUNTERS, Load};
use crate::nemesis::Nemesis;
use crate::plan::{Directions, Kind, Step};
use crate::process::Program;
use crate::record::{Record, What};
use crate::run::folder;
use crate::settings::Settings;
use crate::store::Store;
use crate::testbed::{Layout, PATIENCE, Testbed};
use crate::wrong::{self, Variant, WRONG};

/// How often the fault is tried before a variant counts as not caught. One round in three shows the rarest of them: a batch that
/// is lost when another node takes over, and a read in the seconds in which two nodes believe that they lead.
const ROUNDS: u32 = 30;
/// Requests before the fault, and after it.
const QUIET: Duration = Duration::from_secs(1);

/// How long the nodes may take to tell where the counters stand.
const TELLING: Duration = Duration::from_secs(10);

/// What brings a variant to do wrong.
fn fault(variant: Variant) -> Step {
    let (kind, lasts) = match variant {
        Variant::Right | Variant::AcknowledgeBeforeCommit => (Kind::CutLeaderFromStorage, 8.0),
        // It shows only while the old active node does not hear of the new one.
        Variant::NoReadLease => (Kind::CutOffLeader, 10.0),
        Variant::NoHeadCompare => (Kind::HoldWritePastClaim, 1.0),
        Variant::UnknownTakenAsNotApplied => (Kind::LoseStorageAnswers, 3.0),
        Variant::ReadsFromMemory => (Kind::StepDown, 2.0),
    };
    let directions = Directions::Both;
    Step { kind, choice: 0, directions, lasts, breaks: false, slow: false, pause: 0.0 }
}

/// Tries all of them, two at a time; whether each wrong one was caught, and the right one was not.
pub async fn run(settings: &Settings) -> bool {
    let Settings { backend, seed, .. } = settings;
    println!("wrong variants on {backend}, SEED={seed}");
    let trials = [Variant::Right].into_iter().chain(WRONG).map(|variant| async move {
        let begun = Instant::now();
        (variant, trial(backend, variant, *seed).await, begun.elapsed())
    });
    let mut trials = stream::iter(trials).buffered(2);
    let mut missed = 0;
    while let Some((variant, found, took)) = trials.next().await {
        let is_as_it_should = found.is_some() == (variant != Variant::Right);
        missed += u32::from(!is_as_it_should);
        let seen = found.unwrap_or_else(|| "nothing seen".to_owned());
        let seen: String = seen.chars().take(160).collect();
        println!(
            "{:28} {} after {:.1} s: {seen}",
            variant.to_string(),
            if is_as_it_should { "ok" } else { "WRONG" },
            took.as_secs_f64()
        );
    }
    println!(
        "{} wrong variants that must be caught, {missed} trials did not end as they should",
        WRONG.len()
    );
    missed == 0
}

/// Runs one on a storage of its own; the first violation.
async fn trial(backend: &str, variant: Variant, seed: u64) -> Option<String> {
    let folder = folder(&format!("wrong-{variant}"));
    let wrap = |inner: &Path| wrong::stanza(inner, variant);
    let layout = Layout { programs: std::array::from_fn(|_| Program::Own), wrap: Some(&wrap) };
    let mut testbed = Testbed::start_as(&layout, Store::open(backend).await, None, &folder).await;
    let audit = Audit::start(&testbed.stanza).await;
    let record = Arc::new(Record::new());
    let rounds = if variant == Variant::Right { 2 } else { ROUNDS };
    let step = if variant == Variant::Right {
        [fault(variant), fault(Variant::UnknownTakenAsNotApplied)]
    } else {
        [fault(variant); 2]
    };
    let mut found = None;
    for round in 0..rounds {
        let load = Load::of(&testbed, round, seed, &record);
        tokio::time::sleep(QUIET).await;
        Nemesis::new(&mut testbed, &audit, &record).do_only(&step[round as usize % 2]).await;
        tokio::time::sleep(QUIET).await;
        load.end().await;
        let mut events = record.events();
        let mut counters = read_counters(&testbed).await;
        if counters.is_empty() {
            start_again(&mut testbed).await;
            counters = read_counters(&testbed).await;
        }
        if counters.is_empty() {
            events.retain(|event| !matches!(event.what, What::Increment { .. }));
        }
        let stored = Final { counters, ..Final::default() };
        found = judge::judge(&events, &audit.rows(), &stored).into_iter().next();
        if found.is_some() {
            break;
        }
        if variant != Variant::Right {
            start_again(&mut testbed).await;
        }
    }
    found
}

/// Kills and starts all nodes and waits for a leader: a wrong one may serve nothing any more, and then neither the
/// counters nor a later fault show anything.
async fn start_again(testbed: &mut Testbed) {
    for node in 0..testbed.nodes.len() {
        testbed.nodes[node].process.kill();
        testbed.revive(node);
    }
    let begun = Instant::now();
    while testbed.leader().await.is_none() && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Where the counters stand; empty if no node tells within some seconds, as a wrong cluster may not be able to.
async fn read_counters(testbed: &Testbed) -> BTreeMap<u32, Vec<u64>> {
    let begun = Instant::now();
    while begun.elapsed() < TELLING {
        for node in &testbed.nodes {
            let mut http = node.direct.with_token(&testbed.token);
            http.patience = QUIET;
            let mut counters = BTreeMap::new();
            for counter in 0..COUNTERS {
                let Ok(answer) = http.call("GET", &format!("counters/data/c{counter}"), None).await else {
                    break;
                };
                if !matches!(answer.status, 200 | 404) {
                    break;
                }
                let count = answer.body["data"]["data"]["value"].as_u64().unwrap_or(0);
                counters.insert(counter, vec![count]);
            }
            if counters.len() == COUNTERS as usize {
                return counters;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    BTreeMap::new()
}
