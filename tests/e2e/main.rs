//! End-to-end tests on a real Kubernetes: the lab's API server, kubelets and containers.
//!
//! Run by `make e2e` (every round) or `make e2e-short` (one round, a sample). Each scenario prints what it did and
//! how long it took; the last line counts. `HOLDFAST_E2E=short|full`, arguments filter scenarios by name.

#![allow(
    unreachable_pub,
    clippy::too_many_lines,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

#[path = "../support/consul.rs"]
mod consul_server;
#[path = "../support/etcd.rs"]
mod etcd_server;
#[path = "../support/pki.rs"]
mod pki;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/postgresql.rs"]
mod postgresql_server;
#[path = "../support/zookeeper.rs"]
mod zookeeper_server;

mod client;
mod cluster;
mod failover;
mod head;
mod install;
mod lab;
mod lifecycle;
mod load;
mod outage;
mod proxy;
mod rollout;
mod runner;
mod storages;
mod volume;

use runner::Scenario;

fn main() -> std::process::ExitCode {
    let scenarios = vec![
        Scenario::new("install_chart", install::chart),
        Scenario::new("install_minimal", install::minimal),
        Scenario::new("install_words", install::words),
        Scenario::new("failover_delete_active", failover::delete_active),
        Scenario::new("failover_kill_process", failover::kill_process),
        Scenario::new("failover_freeze", failover::freeze),
        Scenario::new("failover_cut_node", failover::cut_node),
        Scenario::new("failover_kill_node", failover::kill_node),
        // Before the API server is stopped: afterwards kube-proxy does not learn of new Services for up to two minutes.
        Scenario::new("storages_zookeeper", storages::zookeeper),
        Scenario::new("storages_consul", storages::consul),
        Scenario::new("storages_etcd", storages::etcd),
        Scenario::new("storages_postgresql", storages::postgresql),
        Scenario::new("storages_api_server", storages::api_server),
        Scenario::new("outage_api_server", outage::api_server),
        Scenario::new("volume_write_rate", volume::write_rate),
        Scenario::new("volume_data_limit", volume::data_limit),
        Scenario::new("head_label_patched", head::label_patched),
        Scenario::new("lifecycle_operator_uninstalled", lifecycle::operator_uninstalled),
        Scenario::new("lifecycle_recreate", lifecycle::recreate),
        Scenario::new("head_deleted", head::deleted),
        Scenario::new("head_restored", head::restored),
        Scenario::new("head_accepted", head::accepted),
        Scenario::new("rollout_operator_killed", rollout::operator_killed),
        Scenario::new("install_plain_manifests", install::plain_manifests),
    ];
    runner::run(scenarios)
}
