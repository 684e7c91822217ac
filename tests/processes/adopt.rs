//! A copy of a vault's storage at another place: nobody leads there who was not told to adopt it.

use std::path::Path;

use serde_json::{Value, json};

use crate::cluster::{Cluster, PATIENCE, unseal};
use crate::http::{Http, until};
use crate::node::Node;
use crate::postgresql_server::{DATABASE, ROLE};
use crate::store::Store;
use crate::turns;

/// A server on the copy, with `ha` as the settings of its stanza, unsealed; and a client of it with the root token.
async fn on_copy(folder: &Path, stanza: &str, ha: &str, cluster: &Cluster) -> (Node, Http) {
    let node = Node::start(folder, "copy", &format!("{stanza}ha {{ {ha} }}\n"));
    unseal(&node.http, &cluster.key).await;
    let http = node.http.with_token(&cluster.token);
    (node, http)
}

/// Waits until readiness says `text`.
async fn says(node: &Node, text: &str) -> String {
    until(text, PATIENCE, || async {
        let answer = node.probes.plain("readyz").await.unwrap();
        let said = answer.body.as_str().unwrap_or_default().to_owned();
        if said.contains(text) { Ok(said) } else { Err(said) }
    })
    .await
}

async fn until_active(node: &Node) {
    until("an active node", PATIENCE, || async {
        let status = node.http.get("sys/health").await.status;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

async fn password(http: &Http) -> Value {
    http.get("secret/data/app").await.expect(200)["data"]["data"]["password"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_of_the_storage_is_led_only_once_it_is_adopted() {
    let _turn = turns::beside_others().await;
    let mut cluster = Cluster::on(Store::postgresql().await).await;
    let put = |password: &str| json!({"data": {"password": password}});
    cluster.client(0).put("secret/data/app", &put("before the copy")).await.expect(200);
    let uuid = cluster.nodes[0].http.get("sys/health").await.body["cluster_id"].as_str().unwrap().to_owned();
    // A database can be copied while nobody uses it.
    cluster.nodes.iter_mut().for_each(Node::kill);
    let server = cluster.stores[0].postgresql_server();
    until("a copy", PATIENCE, || async {
        let copy = format!("CREATE DATABASE copy TEMPLATE {DATABASE} OWNER {ROLE}");
        let done = server.psql("postgres", "postgres", &copy).output().unwrap();
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
    })
    .await;
    let stanza = cluster.stores[0].stanza("storage").replace(&format!("/{DATABASE}?"), "/copy?");
    for node in 0..3 {
        cluster.run_again(node).await;
    }
    cluster.leader().await;

    let folder = tempfile::tempdir().unwrap();
    for ha in ["", "adopt = \"00000000-0000-4000-8000-000000000000\""] {
        let (mut node, http) = on_copy(folder.path(), &stanza, ha, &cluster).await;
        let said = says(&node, "to move it, let `adopt` name cluster").await;
        assert!(said.contains(&uuid) && said.contains(&format!("postgresql:{DATABASE}/")), "{said}");
        let refused = http.put("secret/data/app", &put("never")).await;
        assert_eq!(refused.status, 503, "{}", refused.body);
        assert!(refused.error().contains(&uuid), "{}", refused.body);
        node.kill();
    }
    let adopt = format!("adopt = \"{uuid}\"");
    let (mut adopting, http) = on_copy(folder.path(), &stanza, &adopt, &cluster).await;
    until_active(&adopting).await;
    assert_eq!(password(&http).await, "before the copy");
    http.put("secret/data/app", &put("in the copy")).await.expect(200);
    adopting.kill();
    // From the claim on the copy names its own lock: the setting has done its work.
    let (settled, http) = on_copy(folder.path(), &stanza, "", &cluster).await;
    until_active(&settled).await;
    assert_eq!(password(&http).await, "in the copy");
    for node in 0..3 {
        assert_eq!(password(&cluster.client(node)).await, "before the copy", "node {node} of the original");
    }
    cluster.client(1).put("secret/data/app", &put("in the original")).await.expect(200);
    assert_eq!(password(&http).await, "in the copy");
}
