//! Keys, tools, sealing and stepping down.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Words, vault};
use crate::vault::core::testing::START;
use crate::vault::core::{Effect, Member, Members, Outcome};
use crate::vault::logical::Operation::{Read, Update};

#[tokio::test]
async fn the_encryption_key_is_rotated() {
    let vault = vault().await;
    let before = vault.ok(&vault.root, Read, "sys/key-status", json!({})).await;
    assert_eq!((&before["term"], &before["data"]["term"]), (&json!(1), &json!(1)));
    assert!(before["data"]["install_time"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert!(before["data"]["encryptions"].is_u64());
    vault.done(&vault.root, Update, "old/a", json!({"v": 1})).await;
    for (path, term) in [("sys/rotate", 2), ("sys/rotate/keyring", 3)] {
        vault.done(&vault.root, Update, path, json!({})).await;
        assert_eq!(vault.ok(&vault.root, Read, "sys/key-status", json!({})).await["data"]["term"], term);
    }
    assert_eq!(vault.ok(&vault.root, Read, "old/a", json!({})).await["data"], json!({"v": 1}));
}

#[tokio::test]
async fn random_bytes_have_the_size_and_form_asked_for() {
    let vault = vault().await;
    for (path, ask, length) in [
        ("sys/tools/random", json!({}), 44),
        ("sys/tools/random", json!({"bytes": 16, "format": "hex"}), 32),
        ("sys/tools/random/4", json!({"format": "hex"}), 8),
        ("sys/tools/random/platform", json!({"bytes": "3"}), 4),
        ("sys/tools/random/all/6", json!({"format": "base64"}), 8),
    ] {
        let body = vault.ok(&vault.root, Update, path, ask).await;
        assert_eq!(body["data"]["random_bytes"].as_str().map(str::len), Some(length), "{path}");
    }
}

#[tokio::test]
async fn hashes_are_the_known_ones() {
    let vault = vault().await;
    // "abc".
    for (path, ask, sum) in [
        ("sys/tools/hash", json!({}), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sys/tools/hash/sha2-224", json!({}), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        ("sys/tools/hash", json!({"format": "base64"}), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
        (
            "sys/tools/hash",
            json!({"algorithm": "sha3-256"}),
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        ),
    ] {
        let mut ask = ask;
        ask["input"] = json!("YWJj");
        assert_eq!(vault.ok(&vault.root, Update, path, ask).await["data"]["sum"], sum, "{path}");
    }
    for (algorithm, digits) in [("sha2-384", 96), ("sha2-512", 128), ("sha3-384", 96), ("sha3-512", 128)] {
        let body =
            vault.ok(&vault.root, Update, &format!("sys/tools/hash/{algorithm}"), json!({"input": ""})).await;
        assert_eq!(body["data"]["sum"].as_str().map(str::len), Some(digits), "{algorithm}");
    }
}

#[tokio::test]
async fn sealing_and_stepping_down_are_asked_of_the_node() {
    let vault = vault().await;
    for (path, effect) in [("sys/seal", Effect::Seal), ("sys/step-down", Effect::StepDown)] {
        let outcome = vault.outcome(&vault.root, Update, path, json!({})).await;
        let Outcome::Reply(reply) = outcome else { panic!("{path}: {outcome:?}") };
        assert_eq!((reply.status, reply.effect), (204, Some(effect)), "{path}");
        let plain = vault.token_that_may(&format!("path \"{path}\" {{ capabilities = [\"update\"] }}")).await;
        let outcome = vault.outcome(&plain, Update, path, json!({})).await;
        let Outcome::Reply(reply) = outcome else { panic!("{path}: {outcome:?}") };
        assert_eq!((reply.status, reply.effect), (403, None), "{path} needs sudo");
        let sudo = vault
            .token_that_may(&format!("path \"{path}\" {{ capabilities = [\"update\", \"sudo\"] }}"))
            .await;
        vault.done(&sudo, Update, path, json!({})).await;
    }
}

struct TwoMembers;

impl Members for TwoMembers {
    fn members(&self) -> Vec<Member> {
        let member = |name: &str, last_echo: Option<crate::base::clock::UnixMillis>| Member {
            hostname: name.to_owned(),
            api_address: format!("https://{name}:8200"),
            cluster_address: format!("https://{name}:8201"),
            active_node: last_echo.is_none(),
            last_echo,
            version: "1.2.3".to_owned(),
        };
        vec![member("vault-0", None), member("vault-1", Some(START))]
    }
}

#[tokio::test]
async fn the_nodes_of_the_cluster_are_shown() {
    let vault = vault().await;
    assert_eq!(vault.ok(&vault.root, Read, "sys/ha-status", json!({})).await["data"], json!({"nodes": []}));
    vault.core.set_members(Arc::new(TwoMembers));
    let body = vault.ok(&vault.root, Read, "sys/ha-status", json!({})).await;
    assert_eq!(body["nodes"], body["data"]["nodes"]);
    assert_eq!(body["nodes"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&body["nodes"][0]["active_node"], &body["nodes"][0]["last_echo"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(
        body["nodes"][1],
        json!({"hostname": "vault-1", "api_address": "https://vault-1:8200", "active_node": false,
            "cluster_address": "https://vault-1:8201", "last_echo": START.rfc3339(), "version": "1.2.3"})
    );
}
