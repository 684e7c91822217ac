//! What high availability costs and how fast it is, on every storage with its own lock: failover under load, commits
//! beside the storage's own ceiling, reads by one node and by three. See docs/bench-ha.md.
//!
//!     make bench-ha BACKEND=consul ROUNDS=20
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
#[path = "../support/http.rs"]
mod http;
#[path = "../chaos/link.rs"]
#[allow(dead_code)]
mod link;
#[path = "../chaos/members.rs"]
#[allow(dead_code)]
mod members;
#[path = "../processes/node.rs"]
#[allow(dead_code)]
mod node;
#[path = "../support/pki.rs"]
mod pki;
#[path = "../chaos/plan.rs"]
#[allow(dead_code)]
mod plan;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/postgresql.rs"]
mod postgresql_server;
#[path = "../chaos/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../chaos/random.rs"]
#[allow(dead_code)]
mod random;
#[path = "../processes/store.rs"]
#[allow(dead_code)]
mod store;
#[path = "../chaos/testbed.rs"]
#[allow(dead_code)]
mod testbed;
#[path = "../support/zookeeper.rs"]
mod zookeeper_server;

mod bed;
mod ceiling;
mod commits;
mod failover;
mod head;
mod load;
mod place;
mod reads;
mod report;
mod rounds;
mod settings;
mod wire;

use std::process::ExitCode;

use report::{Piece, Results};
use settings::{Part, Settings};

fn main() -> ExitCode {
    let settings = match Settings::from_arguments(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("{why}\n{}", settings::USAGE);
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let violations = runtime.unwrap().block_on(run(&settings));
    for violation in &violations {
        println!("VIOLATION {violation}");
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs every part on every storage; what was not reached, as sentences.
async fn run(settings: &Settings) -> Vec<String> {
    let results = Results::new(settings.is_kept());
    let mut violations = Vec::new();
    for backend in &settings.backends {
        for part in &settings.parts {
            let piece = match part {
                Part::Failover(kind) => {
                    Piece::Failover(rounds::rounds(backend, *kind, settings.rounds).await)
                }
                Part::Commits => Piece::Commits(commits::measure(backend).await),
                Part::Reads(clients) => Piece::Reads(reads::measure(backend, *clients).await),
            };
            violations.extend(piece.violations());
            println!("\n{}\n", piece.table());
            results.keep(&piece);
        }
    }
    violations
}
