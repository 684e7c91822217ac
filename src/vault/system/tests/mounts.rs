//! Mounts, tuning, moving, and what the user interface asks.

use serde_json::{Value, json};

use super::{Words, vault};
use crate::base::secret::SecretString;
use crate::vault::logical::Operation::{Delete, Read, Update};

#[tokio::test]
async fn mounts_are_listed_in_data_and_beside_it() {
    let vault = vault().await;
    let body = vault.ok(&vault.root, Read, "sys/mounts", json!({})).await;
    let data = body["data"].as_object().expect("data");
    assert_eq!(data.keys().collect::<Vec<_>>(), ["cubbyhole/", "identity/", "old/", "secret/", "sys/"]);
    assert_eq!(body["secret/"], data["secret/"]);
    let secret = &data["secret/"];
    assert_eq!((&secret["type"], &secret["options"]), (&json!("kv"), &json!({"version": "2"})));
    assert_eq!(
        secret["config"],
        json!({"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": false})
    );
    for member in
        ["description", "uuid", "external_entropy_access", "running_plugin_version", "deprecation_status"]
    {
        assert!(secret.get(member).is_some(), "{member}");
    }
    assert!(secret["accessor"].as_str().expect("text").starts_with("kv_"));
    assert_eq!(data["sys/"]["options"], Value::Null);
    let auth = vault.ok(&vault.root, Read, "sys/auth", json!({})).await;
    assert_eq!(auth["data"]["token/"]["config"]["token_type"], "default-service");
    assert!(auth["token/"]["accessor"].as_str().expect("text").starts_with("auth_token_"));
}

#[tokio::test]
async fn an_engine_is_enabled_used_and_disabled() {
    let vault = vault().await;
    let ask = json!({"type": "kv-v2", "description": "team", "config": {"max_lease_ttl": "1h", "listing_visibility": "unauth"}});
    vault.done(&vault.root, Update, "sys/mounts/team/kv", ask).await;
    let shown = vault.ok(&vault.root, Read, "sys/mounts/team/kv", json!({})).await;
    assert_eq!((&shown["type"], &shown["description"]), (&json!("kv"), &json!("team")));
    assert_eq!(shown["data"]["options"], json!({"version": "2"}));
    assert_eq!(shown["config"]["max_lease_ttl"], 3600);
    assert_eq!(shown["config"]["listing_visibility"], "unauth");
    vault.ok(&vault.root, Update, "team/kv/data/a", json!({"data": {"v": 1}})).await;
    assert_eq!(
        vault.ok(&vault.root, Read, "team/kv/data/a", json!({})).await["data"]["data"],
        json!({"v": 1})
    );
    vault.done(&vault.root, Delete, "sys/mounts/team/kv", json!({})).await;
    let text = vault.refused(404, &vault.root, Read, "team/kv/data/a", json!({})).await;
    assert_eq!(text, "no handler for route \"team/kv/data/a\". route entry not found.");
    vault.done(&vault.root, Delete, "sys/mounts/team/kv", json!({})).await;
    vault
        .done(&vault.root, Update, "sys/mounts/team/kv", json!({"type": "kv", "options": {"version": 2}}))
        .await;
    vault.refused(404, &vault.root, Read, "team/kv/data/a", json!({})).await;
}

#[tokio::test]
async fn the_aliases_of_kv_choose_its_version() {
    let vault = vault().await;
    for (path, ask, options) in [
        ("a", json!({"type": "kv"}), Value::Null),
        ("b", json!({"type": "kv-v1"}), json!({"version": "1"})),
        ("c", json!({"type": "kv-v2"}), json!({"version": "2"})),
        ("d", json!({"type": "plugin", "plugin_name": "kv-v2"}), json!({"version": "2"})),
        ("e", json!({"type": "generic"}), json!({"version": "1"})),
    ] {
        vault.done(&vault.root, Update, &format!("sys/mounts/{path}"), ask).await;
        let shown = vault.ok(&vault.root, Read, &format!("sys/mounts/{path}"), json!({})).await;
        assert_eq!(shown["data"]["options"], options, "{path}");
    }
}

#[tokio::test]
async fn settings_are_tuned() {
    let vault = vault().await;
    let read = vault.ok(&vault.root, Read, "sys/mounts/secret/tune", json!({})).await;
    assert_eq!(
        read["data"],
        json!({"default_lease_ttl": 2_764_800, "max_lease_ttl": 2_764_800, "description": "", "force_no_cache": false,
            "options": {"version": "2"}})
    );
    let change = json!({"default_lease_ttl": "1h", "max_lease_ttl": 7200, "description": "new",
        "audit_non_hmac_request_keys": "a,b", "listing_visibility": "hidden"});
    vault.done(&vault.root, Update, "sys/mounts/secret/tune", change).await;
    let read = vault.ok(&vault.root, Read, "sys/mounts/secret/tune", json!({})).await;
    assert_eq!((&read["default_lease_ttl"], &read["data"]["max_lease_ttl"]), (&json!(3600), &json!(7200)));
    assert_eq!(
        (&read["data"]["description"], &read["data"]["listing_visibility"]),
        (&json!("new"), &json!("hidden"))
    );
    assert_eq!(read["data"]["audit_non_hmac_request_keys"], json!(["a", "b"]));
    vault.done(&vault.root, Update, "sys/mounts/secret/tune", json!({"default_lease_ttl": "system"})).await;
    let read = vault.ok(&vault.root, Read, "sys/mounts/secret/tune", json!({})).await;
    assert_eq!(
        (&read["data"]["default_lease_ttl"], &read["data"]["description"]),
        (&json!(2_764_800), &json!("new"))
    );
    // The token mount, by both of its names.
    vault.done(&vault.root, Update, "sys/auth/token/tune", json!({"max_lease_ttl": "10h"})).await;
    let read = vault.ok(&vault.root, Read, "sys/mounts/auth/token/tune", json!({})).await;
    assert_eq!(
        (&read["data"]["max_lease_ttl"], &read["data"]["token_type"]),
        (&json!(36_000), &json!("default-service"))
    );
    vault.done(&vault.root, Update, "sys/mounts/secret/tune", json!({"options": {"version": "2"}})).await;
}

#[tokio::test]
async fn a_moved_mount_keeps_its_secrets_and_is_listed_at_once() {
    let vault = vault().await;
    vault.done(&vault.root, Update, "old/a", json!({"v": 1})).await;
    let body = vault.ok(&vault.root, Update, "sys/remount", json!({"from": "old/", "to": "new"})).await;
    assert!(body["data"]["migration_id"].as_str().is_some_and(|id| id.len() == 36));
    assert_eq!(vault.ok(&vault.root, Read, "new/a", json!({})).await["data"], json!({"v": 1}));
    let mounts = vault.ok(&vault.root, Read, "sys/mounts", json!({})).await;
    assert!(mounts["data"].get("new/").is_some() && mounts["data"].get("old/").is_none());
}

#[tokio::test]
async fn the_interface_shows_the_mounts_that_a_token_may_reach() {
    let vault = vault().await;
    let reader = vault.token_that_may(r#"path "secret/data/team/*" { capabilities = ["read"] }"#).await;
    let body = vault.ok(&reader, Read, "sys/internal/ui/mounts", json!({})).await;
    let secret = body["data"]["secret"].as_object().expect("secret");
    assert_eq!(secret.keys().collect::<Vec<_>>(), ["cubbyhole/", "identity/", "secret/", "sys/"]);
    assert!(secret["secret/"].get("accessor").is_some());
    let body = vault.ok(&reader, Read, "sys/internal/ui/mounts/secret/data/team/a", json!({})).await;
    assert_eq!(
        (&body["data"]["path"], &body["data"]["options"]["version"]),
        (&json!("secret/"), &json!("2"))
    );
    let none = SecretString::from("");
    for (token, path) in [(&reader, "old/a"), (&reader, "nowhere/"), (&none, "secret/")] {
        let text =
            vault.refused(403, token, Read, &format!("sys/internal/ui/mounts/{path}"), json!({})).await;
        assert_eq!(text, "permission denied");
    }
    // Without a token: only what is listed for everybody, and only what a log-in page needs.
    let body = vault.ok(&none, Read, "sys/internal/ui/mounts", json!({})).await;
    assert_eq!(body["data"], json!({"secret": {}, "auth": {}}));
    vault.done(&vault.root, Update, "sys/mounts/secret/tune", json!({"listing_visibility": "unauth"})).await;
    let body = vault.ok(&none, Read, "sys/internal/ui/mounts", json!({})).await;
    assert_eq!(
        body["data"]["secret"],
        json!({"secret/": {"type": "kv", "description": "", "options": {"version": "2"}}})
    );
}

#[tokio::test]
async fn the_resultant_acl_names_rules() {
    let vault = vault().await;
    let body = vault.ok(&vault.root, Read, "sys/internal/ui/resultant-acl", json!({})).await;
    assert_eq!(body["data"], json!({"root": true}));
    let reader = vault.token_that_may(r#"path "secret/data/*" { capabilities = ["read", "list"] }"#).await;
    let body = vault.ok(&reader, Read, "sys/internal/ui/resultant-acl", json!({})).await;
    assert_eq!(body["data"]["glob_paths"]["secret/data/*"], json!({"capabilities": ["read", "list"]}));
    assert_eq!(body["data"]["exact_paths"]["auth/token/lookup-self"], json!({"capabilities": ["read"]}));
}
