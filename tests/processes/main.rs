//! Three `holdfast server` processes on one real storage of each kind: they elect, forward, survive a SIGKILL of the leader and
//! hand over on SIGTERM. Times are printed; judged are counts, states and generous limits.
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[path = "../support/apiserver.rs"]
mod apiserver;
#[path = "../support/http.rs"]
mod http;

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

#[path = "../chaos/link.rs"]
#[allow(dead_code)]
mod link;

mod adopt;
mod apart;
mod cluster;
mod fill;
mod large;
mod load;
mod mesh;
mod node;
mod shares;
mod storages;
mod store;
mod stuck;
mod tally;
mod turns;

use std::time::{Duration, Instant};

use serde_json::json;

use cluster::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_secret_survives_the_death_of_the_leader() {
    let _turn = turns::beside_others().await;
    let mut cluster = Cluster::start().await;
    let banner = cluster.nodes[0].banner.join("\n");
    for row in [
        "Storage: kubernetes (HA available)",
        "Fencing: head",
        "Api Address: http://127.0.0.1:",
        "Cluster Address: https://127.0.0.1:",
    ] {
        assert!(banner.contains(row), "{row} is missing in\n{banner}");
    }

    // A standby accepts writes and sends them on; every node shows the result at once.
    let leader = cluster.leader().await;
    let standby = cluster.standbys(leader)[0];
    let written = json!({"data": {"password": "correct horse"}});
    let answer = cluster.client(standby).put("secret/data/app", &written).await;
    assert_eq!(answer.expect(200)["data"]["version"], 1);
    for node in 0..3 {
        let answer = cluster.client(node).get("secret/data/app").await;
        assert!(answer.headers.contains_key("x-vault-index"), "{:?}", answer.headers);
        assert_eq!(answer.expect(200)["data"]["data"], written["data"], "node {node}");
    }
    let redirected = cluster.client(standby).with_header("x-vault-no-request-forwarding", "1");
    let answer = redirected.put("secret/data/app", &written).await;
    assert_eq!(answer.status, 307);
    let expected = format!("{}/v1/secret/data/app", cluster.nodes[leader].http.url);
    assert_eq!(answer.headers["location"].to_str().unwrap(), expected);

    // A leader younger than ten seconds is replaced only after its Lease has run out.
    cluster.until_mature(leader).await;
    let begun = Instant::now();
    cluster.nodes[leader].kill();
    let survivors = cluster.standbys(leader);
    let more = json!({"data": {"password": "battery staple"}});
    let answer = cluster.client(survivors[0]).put("secret/data/app", &more).await;
    let took = begun.elapsed();
    println!(
        "SIGKILL of the leader: first acknowledged write through a standby after {} ms",
        took.as_millis()
    );
    assert_eq!(answer.expect(200)["data"]["version"], 2);
    for &node in &survivors {
        let first = cluster.client(node).get("secret/data/app?version=1").await.expect(200);
        assert_eq!(first["data"]["data"], written["data"]);
        let second = cluster.client(node).get("secret/data/app").await.expect(200);
        assert_eq!(second["data"]["data"], more["data"]);
    }
    assert_ne!(cluster.leader().await, leader);
    assert!(took < Duration::from_secs(6), "{took:?}");

    // The dead one comes back as a standby that reads what was written meanwhile.
    cluster.restart(leader).await;
    let third = cluster.client(leader).get("secret/data/app").await.expect(200);
    assert_eq!(third["data"]["data"], more["data"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_that_is_asked_to_step_down_or_end_hands_over_without_a_failed_request() {
    let _turn = turns::beside_others().await;
    let mut cluster = Cluster::start().await;
    for round in 1..=3 {
        storages::planned(&mut cluster, &format!("kubernetes, round {round}")).await;
    }
    storages::pauses(&cluster, "kubernetes").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_of_the_storage_is_told_and_ends_by_itself() {
    let _turn = turns::beside_others().await;
    let store = store::Store::kubernetes().await;
    let allowed = "ha { staleness_limit = \"10m\" }\n";
    let cluster = Cluster::with(3, store.stanza("storage") + allowed, vec![store]).await;
    let written = json!({"data": {"password": "correct horse"}});
    cluster.client(0).put("secret/data/app", &written).await.expect(200);
    cluster.leader().await;
    // Each node has to have known once how old its state is.
    for node in 0..3 {
        cluster.client(node).get("secret/data/app").await.expect(200);
    }
    cluster.stores[0].api_server().stop();
    // What was under way may still succeed for a moment; from then on nothing does.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(10) {
        for node in 0..3 {
            for (method, body) in [("GET", None), ("PUT", Some(&written))] {
                let asked = Instant::now();
                let answer = cluster.client(node).call(method, "secret/data/app", body).await.unwrap();
                slowest = slowest.max(asked.elapsed());
                let name = format!("{method} at node {node} after {:?}: {}", begun.elapsed(), answer.body);
                assert_eq!(answer.status, 503, "{name}");
                assert!(answer.headers.contains_key("retry-after"), "{name}");
                assert!(answer.error().contains("kubernetes"), "{name}");
            }
            // An answer that would be older than what was accepted is none.
            if begun.elapsed() > Duration::from_secs(4) {
                let hasty = cluster.client(node).with_header("x-holdfast-max-staleness", "2s");
                hasty.get("secret/data/app").await.expect(503);
            }
            let patient = cluster.client(node).with_header("x-holdfast-max-staleness", "10m");
            let answer = patient.get("secret/data/app").await;
            let name = format!("stale read at node {node}: {} {:?}", answer.body, answer.headers);
            assert!(answer.headers.contains_key("x-holdfast-staleness"), "{name}");
            assert_eq!(answer.expect(200)["data"]["data"], written["data"], "{name}");
            assert_eq!(cluster.nodes[node].http.get("sys/seal-status").await.expect(200)["sealed"], false);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.stores[0].api_server().start_again();
    let begun = Instant::now();
    let back = http::until("a write after the outage", Duration::from_secs(120), || async {
        let answer = cluster.client(1).put("secret/data/app", &written).await;
        if answer.status == 200 { Ok(begun.elapsed()) } else { Err(answer.body.to_string()) }
    })
    .await;
    println!(
        "storage away: slowest answer {} ms; first write {} ms after the API server was let back",
        slowest.as_millis(),
        back.as_millis()
    );
    assert!(slowest < Duration::from_secs(6), "{slowest:?}");
    for node in 0..3 {
        let answer = cluster.client(node).get("secret/data/app").await.expect(200);
        assert_eq!(answer["data"]["data"], written["data"]);
    }
}
