//! Keys and shares that change while leaders come and go.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE};
use crate::http::{Http, until};
use crate::node::Node;
use crate::store::Store;
use crate::turns;

/// Another active node than `leader`, which is killed and comes back, unsealed by `keys`.
async fn next_leader(cluster: &mut Cluster, leader: usize, keys: &[String]) -> usize {
    cluster.until_mature(leader).await;
    cluster.nodes[leader].kill();
    cluster.run(leader);
    unseal_by(&cluster.nodes[leader].http, keys).await;
    cluster.leader().await
}

async fn unseal_by(http: &Http, keys: &[String]) {
    until("unseal", PATIENCE, || async {
        let mut status = json!(null);
        for key in keys {
            status = http.put("sys/unseal", &json!({ "key": key })).await.body;
        }
        if status["sealed"] == false { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

async fn put(http: &Http, name: &str) {
    http.put(&format!("secret/data/{name}"), &json!({ "data": { "name": name } })).await.expect(200);
}

/// Every node reads what was put.
async fn read_everywhere(cluster: &Cluster, names: &[&str]) {
    for node in 0..cluster.nodes.len() {
        for name in names {
            let body = cluster.client(node).get(&format!("secret/data/{name}")).await.expect(200);
            assert_eq!(body["data"]["data"]["name"], *name, "node {node}");
        }
    }
}

/// A quorum's answer, which comes without an envelope.
async fn give(http: &Http, path: &str, key: &str, nonce: &Value) -> Value {
    http.put(path, &json!({ "key": key, "nonce": nonce })).await.expect(200)
}

/// Keys are rotated, and their shares replaced, by one leader after the other. What was written under each is read by every
/// node, and by all of them after a start with the new shares alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_that_change_under_changing_leaders_open_everything() {
    let _turn = turns::beside_others().await;
    let mut cluster = Cluster::on(Store::postgresql().await).await;
    let old = vec![cluster.key.clone()];
    let leader = cluster.leader().await;
    let standby = cluster.standbys(leader)[0];
    put(&cluster.client(standby), "before").await;
    cluster.client(standby).put("sys/rotate", &json!({})).await.expect(204);
    put(&cluster.client(leader), "rotated").await;
    // The next leader has read nothing that the new key encrypts, and rotates as well.
    let leader = next_leader(&mut cluster, leader, &old).await;
    cluster.client(leader).put("sys/rotate", &json!({})).await.expect(204);
    put(&cluster.client(leader), "rotated-again").await;
    read_everywhere(&cluster, &["before", "rotated", "rotated-again"]).await;

    // Begun under one leader, ended under the next, both through a standby and without a token.
    let standby = cluster.standbys(leader)[0];
    let wish = json!({ "secret_shares": 3, "secret_threshold": 2 });
    let begun = cluster.nodes[standby].http.put("sys/rekey/init", &wish).await.expect(200);
    let leader = next_leader(&mut cluster, leader, &old).await;
    let standby = cluster.standbys(leader)[1];
    let done = give(&cluster.nodes[standby].http, "sys/rekey/update", &old[0], &begun["nonce"]).await;
    assert_eq!(done["complete"], true);
    let new: Vec<String> =
        done["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect();
    put(&cluster.client(leader), "rekeyed").await;
    for node in &cluster.nodes {
        let status = node.http.get("sys/seal-status").await.expect(200);
        assert_eq!((&status["t"], &status["n"]), (&json!(2), &json!(3)), "{}", node.name);
    }
    // Standbys that were unsealed by the old share lead, and read, with the new root key.
    let leader = next_leader(&mut cluster, leader, &new[..2]).await;
    cluster.client(leader).put("sys/rotate", &json!({})).await.expect(204);
    put(&cluster.client(leader), "after").await;
    let names = ["before", "rotated", "rotated-again", "rekeyed", "after"];
    read_everywhere(&cluster, &names).await;

    root_token(&mut cluster, leader, &new).await;

    cluster.nodes.iter_mut().for_each(Node::kill);
    for node in 0..cluster.nodes.len() {
        cluster.run(node);
        let http = &cluster.nodes[node].http;
        let refused = http.put("sys/unseal", &json!({ "key": old[0] })).await;
        assert_eq!(refused.status, 400, "the old share: {}", refused.body);
        unseal_by(http, &new[1..]).await;
    }
    cluster.leader().await;
    read_everywhere(&cluster, &names).await;
}

/// Standbys to which nobody speaks learn of new keys, one change after the other, from the journal. One that was frozen
/// meanwhile can open nothing any more: it seals itself, and is unsealed by the new share.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn idle_standbys_follow_keys_and_a_frozen_one_asks_for_the_new_shares() {
    let _turn = turns::beside_others().await;
    let mut cluster = Cluster::on(Store::etcd().await).await;
    let old = cluster.key.clone();
    let leader = cluster.leader().await;
    let [idle, frozen] = cluster.standbys(leader)[..] else { panic!("three nodes") };
    let http = cluster.client(leader);
    cluster.nodes[frozen].signal(Signal::STOP);
    http.put("sys/rotate", &json!({})).await.expect(204);
    let wish = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let begun = http.put("sys/rekey/init", &wish).await.expect(200);
    let key_term = async |node: usize| {
        let answer = cluster.client(node).get("sys/key-status").await;
        answer.body["data"]["term"].as_u64().unwrap_or_default()
    };
    until("the rotation at the idle standby", PATIENCE, || async {
        let term = key_term(idle).await;
        if term == 2 { Ok(()) } else { Err(term.to_string()) }
    })
    .await;
    let done = give(&http, "sys/rekey/update", &old, &begun["nonce"]).await;
    let new = vec![done["keys"][0].as_str().unwrap().to_owned()];
    put(&http, "after").await;
    cluster.nodes[frozen].signal(Signal::CONT);
    until("a standby that needs the new share", PATIENCE, || async {
        let status = cluster.nodes[frozen].http.get("sys/seal-status").await.body;
        if status["sealed"] == true { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    unseal_by(&cluster.nodes[frozen].http, &new).await;
    read_everywhere(&cluster, &["after"]).await;
    // The idle one, which was unsealed by the old share, can lead.
    cluster.until_mature(leader).await;
    for node in [frozen, leader] {
        cluster.nodes[node].kill();
    }
    until("the idle standby leads", PATIENCE, || async {
        let status = cluster.nodes[idle].http.get("sys/health").await.status;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    put(&cluster.client(idle), "led").await;
    for node in [frozen, leader] {
        cluster.run(node);
        unseal_by(&cluster.nodes[node].http, &new).await;
    }
    cluster.leader().await;
    read_everywhere(&cluster, &["after", "led"]).await;
}

/// Two shares give a root token although the leader changes between them.
async fn root_token(cluster: &mut Cluster, leader: usize, keys: &[String]) {
    let otp = "o".repeat(28);
    let attempt = json!({ "otp": otp });
    let begun = cluster.nodes[leader].http.put("sys/generate-root/attempt", &attempt).await.expect(200);
    let path = "sys/generate-root/update";
    let first = give(&cluster.nodes[leader].http, path, &keys[0], &begun["nonce"]).await;
    assert_eq!((&first["progress"], &first["complete"]), (&json!(1), &json!(false)));
    let leader = next_leader(cluster, leader, &keys[..2]).await;
    let standby = cluster.standbys(leader)[0];
    let made = give(&cluster.nodes[standby].http, path, &keys[2], &begun["nonce"]).await;
    let token = decoded(made["encoded_token"].as_str().unwrap(), &otp);
    for node in &cluster.nodes {
        let body = node.http.with_token(&token).get("auth/token/lookup-self").await.expect(200);
        assert_eq!(body["data"]["policies"], json!(["root"]), "{}", node.name);
    }
}

/// What `vault operator generate-root -decode` does.
fn decoded(encoded: &str, otp: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(encoded).unwrap();
    bytes.iter().zip(otp.bytes()).map(|(byte, otp)| char::from(byte ^ otp)).collect()
}
