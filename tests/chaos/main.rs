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
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/postgresql.rs"]
mod postgresql_server;
#[path = "../processes/store.rs"]
#[allow(dead_code)]
mod store;
#[path = "../support/zookeeper.rs"]
mod zookeeper_server;

mod audit;
mod crowd;
mod finish;
mod judge;
#[allow(dead_code)]
mod link;
mod load;
mod members;
mod nemesis;
mod plan;
mod pointed;
mod process;
mod random;
mod record;
mod report;
mod restore;
mod run;
mod serve;
mod settings;
mod testbed;
mod throttle;
mod tunnel;
mod variants;
mod writer;
mod wrong;

use std::process::ExitCode;

use settings::{Settings, USAGE};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, config] = arguments.as_slice()
        && command == "serve"
    {
        return serve::serve(std::path::Path::new(config));
    }
    let settings = match Settings::from_arguments(arguments.into_iter()) {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = runtime.unwrap();
    let is_right = match &settings.pointed {
        Some(pointed) => runtime.block_on(pointed::run(&settings, pointed)),
        None if settings.is_wrong => runtime.block_on(variants::run(&settings)),
        None => runtime.block_on(run::run(&settings)),
    };
    if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
