//! A run: a cluster, a storage, faults for some minutes, and the judgement.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::Audit;
use crate::load::Load;
use crate::nemesis::{CLOCK_NODE, Fault, Nemesis};
use crate::plan::{self, Kind, Wish};
use crate::process::Program;
use crate::record::Record;
use crate::settings::Settings;
use crate::store::Store;
use crate::testbed::{Layout, Testbed};
use crate::{finish, judge, report, restore};

/// From this length on a run's result is kept.
const KEPT_MINUTES: f64 = 10.0;
/// Below this length faults are short, so that many kinds come.
const BRISK_MINUTES: f64 = 3.0;
/// More steps than fit into a day.
const STEPS: usize = 50_000;

/// An empty folder for a run.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/chaos").join(name);
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs; whether nothing is wrong.
pub async fn run(settings: &Settings) -> bool {
    let Settings { backend, lock, minutes, seed, only, program, .. } = settings;
    let title = settings.title();
    println!("chaos on {title} for {minutes} minutes, SEED={seed}");
    let about = finish::about();
    let folder = folder(&format!("{title}-{seed}"));
    let program = program.clone().map_or_else(Program::built, Program::Holdfast);
    let mut programs = std::array::from_fn(|_| program.clone());
    programs[CLOCK_NODE] = Program::Own;
    let layout = Layout { programs, wrap: None };
    let lock = match lock {
        Some(lock) => Some(Store::open(lock).await),
        None => None,
    };
    let mut testbed = Testbed::start_as(&layout, Store::open(backend).await, lock, &folder).await;
    let audit = Audit::start(&testbed.stanza).await;
    let tokens_before = finish::tokens(&testbed).await;
    let record = Arc::new(Record::new());
    let load = Load::of(&testbed, 0, *seed, &record);

    let wish = Wish { seed: *seed, only, is_brisk: *minutes < BRISK_MINUTES };
    let steps = plan::plan(wish, testbed.abilities(), STEPS);
    let begun = Instant::now();
    let mut nemesis = Nemesis::new(&mut testbed, &audit, &record);
    for step in &steps {
        if begun.elapsed() > Duration::from_secs_f64(minutes * 60.0) || !nemesis.stuck.is_empty() {
            break;
        }
        nemesis.carry_out(step).await;
    }
    let (mut faults, mut wrong) = (nemesis.faults, nemesis.stuck);
    println!("  the encryption key was replaced {} times", load.end().await);

    let mut stored = finish::stored(&testbed, &mut wrong).await;
    stored.tokens = finish::tokens(&testbed).await.saturating_sub(tokens_before);
    let journal = audit.finish().await.unwrap_or_else(|why| {
        wrong.push(why);
        Vec::new()
    });
    let events = record.events();
    finish::write_history(&folder.join("history.jsonl"), &events, &journal);
    wrong.extend(judge::judge(&events, &journal, &stored));
    if wrong.is_empty() && (only.is_empty() || only.contains(&Kind::RestoreOlderCopy)) {
        let (found, line) = restore::restore_older_copy(&mut testbed, *seed).await;
        println!("  at last  {line}");
        wrong.extend(found);
        faults.push(Fault { kind: Kind::RestoreOlderCopy, longest_gap: None });
    }

    let totals = report::totals(&events, &journal, &faults, &wrong);
    println!("\n{totals}\nhistory and logs are in {}", folder.display());
    if *minutes >= KEPT_MINUTES && only.is_empty() {
        finish::keep(&title, &format!("{about}, {minutes} minutes, SEED={seed}"), &totals);
    }
    wrong.is_empty()
}
