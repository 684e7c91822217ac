//! Tokens, their roles and their leases.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Words, vault};
use crate::base::secret::SecretString;
use crate::vault::core::testing::Vault;
use crate::vault::logical::Operation::{Delete, List, Read, Update};

async fn create(vault: &Vault, by: &SecretString, ask: Value) -> Value {
    vault.ok(by, Update, "auth/token/create", ask).await["auth"].clone()
}

fn token_of(auth: &Value) -> SecretString {
    auth["client_token"].as_str().expect("token").into()
}

async fn lookup(vault: &Vault, token: &SecretString) -> Value {
    vault.ok(token, Read, "auth/token/lookup-self", json!({})).await["data"].clone()
}

#[tokio::test]
async fn a_token_is_created_and_looked_up() {
    let vault = vault().await;
    let ask = json!({"policies": ["default"], "ttl": "1h", "display_name": "a b", "meta": {"k": "v"}, "num_uses": 9});
    let auth = create(&vault, &vault.root, ask).await;
    let token = token_of(&auth);
    assert!(token.expose().starts_with("hvs.") && token.expose().len() == 28);
    assert_eq!((&auth["policies"], &auth["lease_duration"]), (&json!(["default"]), &json!(3600)));
    assert_eq!(
        (&auth["renewable"], &auth["orphan"], &auth["num_uses"]),
        (&json!(true), &json!(false), &json!(9))
    );
    assert_eq!((&auth["metadata"], &auth["token_type"]), (&json!({"k": "v"}), &json!("service")));
    let shown = lookup(&vault, &token).await;
    assert_eq!((&shown["id"], &shown["display_name"]), (&json!(token.expose()), &json!("token-a-b")));
    assert_eq!((&shown["meta"], &shown["path"]), (&json!({"k": "v"}), &json!("auth/token/create")));
    assert_eq!((&shown["ttl"], &shown["creation_ttl"]), (&json!(3600), &json!(3600)));
    assert_eq!((&shown["num_uses"], &shown["type"]), (&json!(8), &json!("service")));
    let by_accessor = vault
        .ok(&vault.root, Update, "auth/token/lookup-accessor", json!({"accessor": auth["accessor"]}))
        .await["data"]
        .clone();
    assert_eq!((&by_accessor["id"], &by_accessor["accessor"]), (&json!(""), &auth["accessor"]));
    for data in [json!({}), json!({"token": vault.root.expose()})] {
        let root = vault.ok(&vault.root, Update, "auth/token/lookup", data).await["data"].clone();
        assert_eq!((&root["policies"], &root["expire_time"]), (&json!(["root"]), &Value::Null));
        assert_eq!((&root["ttl"], &root["orphan"], &root["meta"]), (&json!(0), &json!(true), &Value::Null));
    }
    let accessors =
        vault.ok(&vault.root, List, "auth/token/accessors/", json!({})).await["data"]["keys"].clone();
    assert!(accessors.as_array().expect("list").contains(&auth["accessor"]));
    assert_eq!(accessors.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn policies_of_a_child_follow_its_parent() {
    let vault = vault().await;
    let allow = r#"path "auth/token/create*" { capabilities = ["update"] }"#;
    for name in ["a", "b"] {
        vault.done(&vault.root, Update, &format!("sys/policies/acl/{name}"), json!({"policy": allow})).await;
    }
    let root = create(&vault, &vault.root, json!({})).await;
    assert_eq!(root["policies"], json!(["root"]), "a root token hands itself on");
    let parent = create(&vault, &vault.root, json!({"policies": ["a", "B"]})).await;
    assert_eq!(parent["policies"], json!(["a", "b", "default"]));
    let parent = token_of(&parent);
    for (ask, policies) in [
        (json!({}), json!(["a", "b", "default"])),
        (json!({"policies": "b"}), json!(["b", "default"])),
        (json!({"policies": ["b"], "no_default_policy": true}), json!(["b"])),
        (json!({"no_default_policy": true}), json!(["a", "b"])),
    ] {
        assert_eq!(create(&vault, &parent, ask.clone()).await["policies"], policies, "{ask}");
    }
    let plain =
        token_of(&create(&vault, &vault.root, json!({"policies": ["a"], "no_default_policy": true})).await);
    assert_eq!(
        create(&vault, &plain, json!({})).await["policies"],
        json!(["a"]),
        "what the parent lacks is not added"
    );
    let body = vault.ok(&vault.root, Update, "auth/token/create", json!({"policies": ["ghost"]})).await;
    assert_eq!(body["warnings"], json!(["Policy \"ghost\" does not exist"]));
    let orphan = vault.ok(&parent, Update, "auth/token/create-orphan", json!({})).await["auth"].clone();
    assert_eq!(orphan["orphan"], true);
    let chosen =
        create(&vault, &vault.root, json!({"id": "chosen", "no_parent": true, "period": "1h"})).await;
    assert_eq!((&chosen["client_token"], &chosen["orphan"]), (&json!("chosen"), &json!(true)));
    assert_eq!(lookup(&vault, &"chosen".into()).await["period"], 3600);
}

#[tokio::test]
async fn a_token_is_renewed_by_any_of_its_names() {
    let vault = vault().await;
    let auth =
        create(&vault, &vault.root, json!({"policies": ["default"], "ttl": "1h", "explicit_max_ttl": "3h"}))
            .await;
    let token = token_of(&auth);
    vault.clock.advance(Duration::from_secs(1800));
    assert_eq!(lookup(&vault, &token).await["ttl"], 1800);
    let renewed = vault.ok(&token, Update, "auth/token/renew-self", json!({})).await["auth"].clone();
    assert_eq!(
        (&renewed["lease_duration"], &renewed["client_token"]),
        (&json!(3600), &json!(token.expose()))
    );
    let renewed = vault
        .ok(&vault.root, Update, "auth/token/renew", json!({"token": token.expose(), "increment": "2h"}))
        .await;
    assert_eq!(renewed["auth"]["lease_duration"], 7200);
    let shown = lookup(&vault, &token).await;
    assert_eq!(shown["last_renewal_time"], shown["creation_time"].as_u64().expect("time") + 1800);
    let renewed = vault
        .ok(
            &vault.root,
            Update,
            "auth/token/renew-accessor",
            json!({"accessor": auth["accessor"], "increment": "9h"}),
        )
        .await;
    assert_eq!(
        (&renewed["auth"]["client_token"], &renewed["auth"]["lease_duration"]),
        (&json!(""), &json!(9000))
    );
    assert!(renewed["warnings"][0].as_str().expect("warning").starts_with("TTL of \"9h0m0s\" exceeded"));
}

#[tokio::test]
async fn revocation_ends_children_and_private_storage() {
    let vault = vault().await;
    let allow = r#"path "auth/token/create" { capabilities = ["update"] }"#;
    let parent = vault.token_that_may(allow).await;
    let child = token_of(&create(&vault, &parent, json!({})).await);
    vault.done(&child, Update, "cubbyhole/a", json!({"v": 1})).await;
    assert_eq!(vault.ok(&child, Read, "cubbyhole/a", json!({})).await["data"], json!({"v": 1}));
    vault.refused(404, &parent, Read, "cubbyhole/a", json!({})).await;
    vault.done(&vault.root, Update, "auth/token/revoke", json!({"token": parent.expose()})).await;
    for token in [&parent, &child] {
        vault.refused(403, token, Read, "auth/token/lookup-self", json!({})).await;
    }
    vault.done(&vault.root, Update, "auth/token/revoke", json!({"token": parent.expose()})).await;
    vault.refused(403, &vault.root, Update, "auth/token/lookup", json!({"token": child.expose()})).await;
}

#[tokio::test]
async fn orphans_survive_and_a_token_may_end_itself() {
    let vault = vault().await;
    let allow = r#"path "auth/token/create" { capabilities = ["update"] }"#;
    let parent = vault.token_that_may(allow).await;
    let child = create(&vault, &parent, json!({})).await;
    vault.done(&vault.root, Update, "auth/token/revoke-orphan", json!({"token": parent.expose()})).await;
    vault.refused(403, &parent, Read, "auth/token/lookup-self", json!({})).await;
    assert_eq!(lookup(&vault, &token_of(&child)).await["orphan"], true);
    vault
        .done(&vault.root, Update, "auth/token/revoke-accessor", json!({"accessor": child["accessor"]}))
        .await;
    vault.refused(403, &token_of(&child), Read, "auth/token/lookup-self", json!({})).await;
    let other = vault.token_that_may(allow).await;
    vault.done(&other, Update, "auth/token/revoke-self", json!({})).await;
    vault.refused(403, &other, Read, "auth/token/lookup-self", json!({})).await;
}

#[tokio::test]
async fn a_token_has_a_lease() {
    let vault = vault().await;
    let token = token_of(&create(&vault, &vault.root, json!({"policies": ["default"], "ttl": 600})).await);
    let ids = vault.keys("sys/token/id/").await;
    let root_key = &ids[..];
    let mut found = 0;
    for key in root_key {
        let lease = format!("auth/token/create/{}", key.rsplit('/').next().expect("key"));
        let (status, body) =
            vault.ask(&vault.root, Update, "sys/leases/lookup", json!({"lease_id": lease})).await;
        if status != 200 {
            continue;
        }
        found += 1;
        assert_eq!((&body["data"]["id"], &body["data"]["ttl"]), (&json!(lease), &json!(600)));
        assert_eq!((&body["data"]["renewable"], &body["data"]["last_renewal"]), (&json!(true), &Value::Null));
        let text =
            vault.refused(400, &vault.root, Update, "sys/leases/renew", json!({"lease_id": lease})).await;
        assert_eq!(text, "tokens cannot be renewed through this endpoint");
        vault.done(&vault.root, Update, &format!("sys/leases/revoke/{lease}"), json!({})).await;
        vault.done(&vault.root, Update, "sys/revoke", json!({"lease_id": lease})).await;
    }
    assert_eq!(found, 1);
    vault.refused(403, &token, Read, "auth/token/lookup-self", json!({})).await;
}

#[tokio::test]
async fn roles_shape_the_tokens_that_they_make() {
    let vault = vault().await;
    vault.refused(404, &vault.root, List, "auth/token/roles/", json!({})).await;
    let ask = json!({"allowed_policies": "Dev,ops", "orphan": true, "period": "1h", "path_suffix": "v1",
        "token_num_uses": 5, "token_bound_cidrs": ["10.0.0.0/8"], "renewable": false});
    vault.done(&vault.root, Update, "auth/token/roles/team", ask).await;
    let shown = vault.ok(&vault.root, Read, "auth/token/roles/team", json!({})).await["data"].clone();
    assert_eq!((&shown["name"], &shown["allowed_policies"]), (&json!("team"), &json!(["dev", "ops"])));
    assert_eq!((&shown["period"], &shown["token_period"]), (&json!(3600), &json!(3600)));
    assert_eq!(shown["token_type"], "default-service");
    vault
        .done(
            &vault.root,
            Update,
            "auth/token/roles/team",
            json!({"token_bound_cidrs": [], "renewable": true}),
        )
        .await;
    let body = vault.ok(&vault.root, List, "auth/token/roles/", json!({})).await;
    assert_eq!(body["data"]["keys"], json!(["team"]));
    let by = vault.token_that_may(r#"path "auth/token/create/team" { capabilities = ["update"] }"#).await;
    let auth =
        vault.ok(&by, Update, "auth/token/create/team", json!({"policies": ["dev"]})).await["auth"].clone();
    assert_eq!((&auth["policies"], &auth["orphan"]), (&json!(["default", "dev"]), &json!(true)));
    assert_eq!((&auth["lease_duration"], &auth["num_uses"]), (&json!(3600), &json!(5)));
    let shown = lookup(&vault, &token_of(&auth)).await;
    assert_eq!((&shown["role"], &shown["path"]), (&json!("team"), &json!("auth/token/create/team/v1")));
    vault.done(&vault.root, Delete, "auth/token/roles/team", json!({})).await;
    vault.refused(404, &vault.root, Read, "auth/token/roles/team", json!({})).await;
}
