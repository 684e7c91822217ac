//! Servers that do not speak with each other (`disable_clustering`): standbys redirect, and whoever steps down frees the
//! lock for any of the others.

use std::net::TcpListener;

use serde_json::json;

use super::{PATIENCE, three_servers};
use crate::http::{Answer, Http, until};

/// The one node that is active, once the others stand by.
async fn active(nodes: &[Http]) -> usize {
    until("one active node and two standbys", PATIENCE, || async {
        let mut states = Vec::new();
        for node in nodes {
            states.push(node.get("sys/health").await.status);
        }
        let active = states.iter().position(|status| *status == 200);
        let standbys = states.iter().filter(|status| **status == 429).count();
        active.filter(|_| standbys == 2).ok_or_else(|| format!("{states:?}"))
    })
    .await
}

fn location(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.headers.get("location").map_or("", |value| value.to_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_clustering_standbys_redirect_and_a_step_down_moves_the_leadership() {
    let folder = tempfile::tempdir().unwrap();
    // The address is taken, so that a server that listened for peers would not start.
    let peers = TcpListener::bind("127.0.0.1:0").unwrap();
    let stanzas = format!(
        r#"
        disable_clustering = true
        listener "tcp" {{ address = "127.0.0.1:0" cluster_address = "{}" tls_disable = true }}
        "#,
        peers.local_addr().unwrap()
    );
    let servers = three_servers(folder.path(), &stanzas).await;
    let banner = servers[0].banner.to_string();
    assert!(banner.contains(" Storage: shared (HA available)\n"), "{banner}");
    assert!(!banner.to_lowercase().contains("cluster address"), "{banner}");

    let urls: Vec<_> = servers.iter().map(|one| format!("http://{}", one.api_addresses[0])).collect();
    let made = until("init", PATIENCE, || async {
        let answer = Http::new(&urls[0]).put("sys/init", &json!({})).await;
        if answer.status == 200 { Ok(answer.body) } else { Err(answer.error()) }
    })
    .await;
    let token = made["root_token"].as_str().unwrap();
    let nodes: Vec<_> = urls.iter().map(|url| Http::new(url).with_token(token)).collect();
    let first = active(&nodes).await;
    let mount = json!({"type": "kv", "options": {"version": "2"}});
    nodes[first].put("sys/mounts/secret", &mount).await.expect(204);
    let written = json!({"data": {"password": "correct horse"}});
    nodes[first].put("secret/data/app", &written).await.expect(200);

    for standby in (0..3).filter(|node| *node != first) {
        let node = &nodes[standby];
        let expected = format!("{}/v1/secret/data/app", urls[first]);
        assert_eq!(location(&node.put("secret/data/app", &written).await), (307, expected.as_str()));
        let expected = format!("{expected}?version=1");
        assert_eq!(location(&node.get("secret/data/app?version=1").await), (307, expected.as_str()));
        let expected = format!("{}/v1/sys/step-down", urls[first]);
        assert_eq!(location(&node.put("sys/step-down", &json!({})).await), (307, expected.as_str()));
        let known = node.get("sys/leader").await.expect(200);
        assert_eq!(known["leader_address"], urls[first], "{known}");
        assert_eq!(known["leader_cluster_address"], "", "{known}");
    }

    nodes[first].put("sys/step-down", &json!({})).await.expect(204);
    let second = until("another leader", PATIENCE, || async {
        let now = active(&nodes).await;
        if now == first { Err("the same one".to_owned()) } else { Ok(now) }
    })
    .await;
    let redirected = nodes[first].get("secret/data/app").await;
    let expected = format!("{}/v1/secret/data/app", urls[second]);
    assert_eq!(location(&redirected), (307, expected.as_str()));
    let read = nodes[second].get("secret/data/app").await.expect(200);
    assert_eq!(read["data"]["data"], written["data"]);

    peers.set_nonblocking(true).unwrap();
    let called = peers.accept();
    assert!(called.is_err(), "a node called its peers: {called:?}");
}
