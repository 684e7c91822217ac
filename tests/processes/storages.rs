//! The same on every storage that several nodes can share: elect by its own lock, forward, survive the kill of the leader,
//! hand over again and again without a failed request. And a lock that is away costs nothing.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::cluster::{Cluster, PATIENCE};
use crate::http::until;
use crate::load::Load;
use crate::store::Store;
use crate::turns;

async fn gate(store: Store) {
    let _turn = turns::beside_others().await;
    let kind = store.kind();
    let mut cluster = Cluster::on(store).await;
    let banner = cluster.nodes[0].banner.join("\n");
    for row in [format!("Storage: {kind} (HA available)"), "Fencing: head".to_owned()] {
        assert!(banner.contains(&row), "{row} is missing in\n{banner}");
    }
    let leader = cluster.leader().await;
    let standby = cluster.standbys(leader)[0];
    let written = json!({"data": {"password": "correct horse"}});
    let answer = cluster.client(standby).put("secret/data/app", &written).await;
    assert_eq!(answer.expect(200)["data"]["version"], 1);
    for node in 0..3 {
        let answer = cluster.client(node).get("secret/data/app").await.expect(200);
        assert_eq!(answer["data"]["data"], written["data"], "node {node}");
    }

    // A leader younger than ten seconds is replaced only after its lock has run out.
    cluster.until_mature(leader).await;
    let begun = Instant::now();
    cluster.nodes[leader].kill();
    let survivors = cluster.standbys(leader);
    let more = json!({"data": {"password": "battery staple"}});
    let answer = cluster.client(survivors[0]).put("secret/data/app", &more).await;
    let killed = begun.elapsed();
    assert_eq!(answer.expect(200)["data"]["version"], 2);
    for &node in &survivors {
        let read = cluster.client(node).get("secret/data/app").await.expect(200);
        assert_eq!(read["data"]["data"], more["data"]);
    }
    cluster.restart(leader).await;
    let read = cluster.client(leader).get("secret/data/app").await.expect(200);
    assert_eq!(read["data"]["data"], more["data"]);

    println!("{kind}: first write {} ms after SIGKILL of the leader", killed.as_millis());
    assert!(killed < Duration::from_secs(6), "{killed:?}");
    for round in 1..=3 {
        planned(&mut cluster, &format!("{kind}, round {round}")).await;
    }
    // Consul's servers measure their leader's silence in wall-clock time: when all go on after a pause, they elect anew, which takes
    // longer than a request waits.
    if kind != "consul" {
        pauses(&cluster, kind).await;
    }
}

/// How long a storage is silent: longer than a node waits for one answer of it.
const PAUSE: Duration = Duration::from_millis(900);

/// All servers of the storage stop and go on, three times, under load: nobody is told, and nobody takes over.
pub async fn pauses(cluster: &Cluster, name: &str) {
    let leader = cluster.leader().await;
    let load = Load::start(cluster, 6, Duration::from_millis(20));
    for _ in 0..3 {
        let so_far = load.acknowledged();
        load.until_acknowledged(so_far + 50).await;
        cluster.stores[0].freeze();
        tokio::time::sleep(PAUSE).await;
        cluster.stores[0].thaw();
    }
    let so_far = load.acknowledged();
    load.until_acknowledged(so_far + 50).await;
    let report = load.end().await;
    println!(
        "{name}: silent for {} ms three times: {} writes, {} reads, {} failed, longest gap {} ms",
        PAUSE.as_millis(),
        report.writes,
        report.reads,
        report.failures.len(),
        report.longest_gap.as_millis()
    );
    assert_eq!(report.failures, Vec::<String>::new(), "{name}");
    assert!(report.longest_gap >= PAUSE, "{name} was not silent: {:?}", report.longest_gap);
    assert_eq!(cluster.leader().await, leader, "{name}: the leader changed");
    report.check(cluster, &[0, 1, 2]).await;
}

/// The leader steps down, and the next one ends, under two hundred requests a second: nothing fails.
pub async fn planned(cluster: &mut Cluster, name: &str) {
    let first = cluster.leader().await;
    let load = Load::start(cluster, 6, Duration::from_millis(20));
    load.until_acknowledged(50).await;
    cluster.client(first).call("PUT", "sys/step-down", None).await.unwrap().expect(204);
    // It is answered before it begins.
    let second = until("another leader", PATIENCE, || async {
        let leader = cluster.leader().await;
        if leader == first { Err("the same".to_owned()) } else { Ok(leader) }
    })
    .await;
    let so_far = load.acknowledged();
    load.until_acknowledged(so_far + 50).await;

    cluster.nodes[second].signal(Signal::TERM);
    // A second is what a Service may take to stop sending new connections to a pod that ends.
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.remove(second);
    let code = cluster.nodes[second].ended(Duration::from_secs(60)).await;
    let so_far = load.acknowledged();
    load.until_acknowledged(so_far + 50).await;
    let report = load.end().await;
    println!(
        "{name}: step-down and SIGTERM under load: {} writes, {} reads, {} failed, longest gap {} ms",
        report.writes,
        report.reads,
        report.failures.len(),
        report.longest_gap.as_millis()
    );
    assert_eq!(report.failures, Vec::<String>::new(), "{name}");
    assert_eq!(code, Some(0), "{name}");
    report.check(cluster, &cluster.standbys(second)).await;
    assert!(report.longest_gap < Duration::from_secs(3), "{name}: {:?}", report.longest_gap);
    cluster.restart(second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn etcd_carries_a_cluster() {
    gate(Store::etcd().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn consul_carries_a_cluster() {
    gate(Store::consul().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn zookeeper_carries_a_cluster() {
    gate(Store::zookeeper().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgresql_carries_a_cluster() {
    gate(Store::postgresql().await).await;
}

/// The API server is away for three Leases: whoever leads goes on, because only a successor's claim ends that.
async fn lock_away(store: Store) {
    let _turn = turns::beside_others().await;
    let kind = store.kind();
    let cluster = Cluster::with_lock(store, Store::kubernetes().await).await;
    let banner = cluster.nodes[0].banner.join("\n");
    assert!(banner.contains("HA Storage: kubernetes (HA available)"), "{banner}");
    let leader = cluster.leader().await;
    let load = Load::start(&cluster, 4, Duration::from_millis(20));
    load.until_acknowledged(50).await;
    cluster.stores[1].api_server().stop();
    tokio::time::sleep(Duration::from_secs(18)).await;
    let during = load.acknowledged();
    cluster.stores[1].api_server().start_again();
    load.until_acknowledged(during + 100).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let report = load.end().await;
    println!(
        "{kind} with a Lease: API server away for 18 s: {} writes, {} reads, {} failed, longest gap {} ms",
        report.writes,
        report.reads,
        report.failures.len(),
        report.longest_gap.as_millis()
    );
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(cluster.leader().await, leader, "the leader changed");
    report.check(&cluster, &[0, 1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn etcd_does_not_need_the_api_server_that_holds_its_lock() {
    lock_away(Store::etcd().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgresql_does_not_need_the_api_server_that_holds_its_lock() {
    lock_away(Store::postgresql().await).await;
}
