//! Three `holdfast server` processes on a real storage while everything that can fail does, and a judgement of what
//! clients saw. See docs/chaos.md.
//!
//!     make chaos BACKEND=consul MINUTES=10 SEED=7
#![allow(
    unreachable_pub,
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[path = "../support/apiserver.rs"]
mod apiserver;
#[path = "../processes/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "../support/consul.rs"]
mod consul_server;
#[path = "../support/etcd.rs"]
mod etcd_server;
#[path = "../simulation/history.rs"]
#[allow(dead_code)]
mod history;
#[path = "../support/http.rs"]
mod http;
#[path = "../processes/node.rs"]
#[allow(dead_code)]
mod node;
#[path = "../support/pki.rs"]
mod pki;
#[path = "../support/postgresql.rs"]
mod postgresql_server;
#[path = "../processes/store.rs"]
#[allow(dead_code)]
mod store;

#[path = "../support/zookeeper.rs"]
mod zookeeper_server;

mod audit;
mod finish;
mod judge;
mod link;
mod load;
mod members;
mod nemesis;
mod plan;
mod process;
mod random;
mod record;
mod report;
mod testbed;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::Audit;
use load::Load;
use nemesis::Nemesis;
use plan::Kind;
use record::Record;
use store::Store;
use testbed::Testbed;

/// From this length on a run's result is kept.
const KEPT_MINUTES: f64 = 10.0;
/// More steps than fit into a day.
const STEPS: usize = 50_000;

struct Settings {
    backend: String,
    minutes: f64,
    seed: u64,
    only: Vec<Kind>,
}

fn main() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("{why}\nusage: chaos [--backend TYPE] [--minutes N] [--seed N] [--only KIND,KIND]");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    if runtime.unwrap().block_on(run(&settings)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn settings() -> Result<Settings, String> {
    let any = || std::time::UNIX_EPOCH.elapsed().map_or(1, |time| u64::from(time.subsec_nanos()));
    let mut settings =
        Settings { backend: "kubernetes".to_owned(), minutes: 1.0, seed: any(), only: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} has no value"))?;
        let wrong = |error: &dyn std::fmt::Display| format!("{name} {value}: {error}");
        match name.as_str() {
            "--backend" => settings.backend = value,
            "--minutes" => settings.minutes = value.parse().map_err(|error| wrong(&error))?,
            "--seed" => settings.seed = value.parse().map_err(|error| wrong(&error))?,
            "--only" => {
                let kinds = value.split(',').map(|kind| Kind::parse(kind).ok_or_else(|| wrong(&kind)));
                settings.only = kinds.collect::<Result<_, _>>()?;
            }
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(settings)
}

async fn open(backend: &str) -> Store {
    match backend {
        "kubernetes" => Store::kubernetes().await,
        "consul" => Store::consul().await,
        "etcd" => Store::etcd().await,
        "postgresql" => Store::postgresql().await,
        "zookeeper" => Store::zookeeper().await,
        other => panic!("{other} is no storage of this harness"),
    }
}

/// Runs; whether nothing is wrong.
async fn run(settings: &Settings) -> bool {
    let Settings { backend, minutes, seed, only } = settings;
    println!("chaos on {backend} for {minutes} minutes, SEED={seed}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("build/chaos/{backend}-{seed}"));
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();

    let mut testbed = Testbed::start(open(backend).await, &folder).await;
    let audit = Audit::start(&testbed.stanza).await;
    let tokens_before = finish::tokens(&testbed).await;
    let record = Arc::new(Record::new());
    let links: Vec<String> =
        testbed.nodes.iter().map(|node| format!("http://{}", node.clients.address)).collect();
    let direct: Vec<String> = testbed.nodes.iter().map(|node| node.direct.url.clone()).collect();
    let load = Load::start(&links, &direct, &testbed.token, *seed, &record);

    let steps = plan::plan(*seed, testbed.members.abilities(), only, STEPS);
    let begun = Instant::now();
    let mut nemesis = Nemesis {
        testbed: &mut testbed,
        audit: &audit,
        record: Arc::clone(&record),
        faults: Vec::new(),
        stuck: Vec::new(),
    };
    for step in &steps {
        if begun.elapsed() > Duration::from_secs_f64(minutes * 60.0) || !nemesis.stuck.is_empty() {
            break;
        }
        nemesis.carry_out(step).await;
    }
    let (faults, mut wrong) = (nemesis.faults, nemesis.stuck);
    load.end().await;

    let mut stored = finish::stored(&testbed, &mut wrong).await;
    stored.tokens = finish::tokens(&testbed).await.saturating_sub(tokens_before);
    let journal = audit.finish().await.unwrap_or_else(|why| {
        wrong.push(why);
        Vec::new()
    });
    let events = record.events();
    finish::write_history(&folder.join("history.jsonl"), &events, &journal);
    wrong.extend(judge::judge(&events, &journal, &stored));

    let totals = report::totals(&events, &journal, &faults, &wrong);
    println!("\n{totals}\nhistory and logs are in {}", folder.display());
    if *minutes >= KEPT_MINUTES && only.is_empty() {
        finish::keep(backend, &format!("{minutes} minutes, SEED={seed}"), &totals);
    }
    wrong.is_empty()
}
