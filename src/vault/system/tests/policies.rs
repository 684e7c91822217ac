//! Policies and capabilities.

use serde_json::json;

use super::{Words, vault};
use crate::vault::logical::Operation::{Delete, List, Read, Update};

const RULES: &str =
    r#"path "secret/data/a" { capabilities = ["create", "read", "update", "delete", "sudo"] }"#;

#[tokio::test]
async fn a_policy_is_written_read_listed_and_deleted() {
    let vault = vault().await;
    vault.done(&vault.root, Update, "sys/policies/acl/team", json!({"policy": RULES})).await;
    let body = vault.ok(&vault.root, Read, "sys/policies/acl/team", json!({})).await;
    assert_eq!(body["data"], json!({"name": "team", "policy": RULES}));
    let body = vault.ok(&vault.root, List, "sys/policies/acl/", json!({})).await;
    assert_eq!(body["data"]["keys"], json!(["default", "root", "team"]));
    vault.done(&vault.root, Delete, "sys/policies/acl/team", json!({})).await;
    vault.refused(404, &vault.root, Read, "sys/policies/acl/team", json!({})).await;
    vault.done(&vault.root, Delete, "sys/policies/acl/team", json!({})).await;
}

#[tokio::test]
async fn the_old_names_use_the_old_words() {
    let vault = vault().await;
    vault.done(&vault.root, Update, "sys/policy/one", json!({"policy": RULES})).await;
    vault.done(&vault.root, Update, "sys/policy/two", json!({"rules": RULES})).await;
    let body = vault.ok(&vault.root, Read, "sys/policy/two", json!({})).await;
    assert_eq!(body["data"], json!({"name": "two", "rules": RULES}));
    assert_eq!((&body["name"], &body["rules"]), (&json!("two"), &json!(RULES)));
    for operation in [Read, List] {
        let body = vault.ok(&vault.root, operation, "sys/policy", json!({})).await;
        assert_eq!(body["policies"], json!(["default", "one", "root", "two"]));
        assert_eq!(body["data"]["keys"], body["policies"]);
    }
    vault.done(&vault.root, Delete, "sys/policy/two", json!({})).await;
}

#[tokio::test]
async fn names_become_lower_case_and_text_may_be_base64() {
    use base64::Engine as _;
    let vault = vault().await;
    let encoded = base64::engine::general_purpose::STANDARD.encode(RULES);
    let body = vault.ok(&vault.root, Update, "sys/policies/acl/Team", json!({"policy": encoded})).await;
    assert_eq!(body["warnings"], json!(["policy name was converted to team"]));
    let body = vault.ok(&vault.root, Read, "sys/policies/acl/TEAM", json!({})).await;
    assert_eq!(body["data"], json!({"name": "team", "policy": RULES}));
}

#[tokio::test]
async fn capabilities_are_told_for_any_token() {
    let vault = vault().await;
    let token = vault.token_that_may(RULES).await;
    let all = json!(["sudo", "read", "update", "delete", "create"]);
    let body = vault.ok(&token, Update, "sys/capabilities-self", json!({"path": "secret/data/a"})).await;
    assert_eq!((&body["capabilities"], &body["data"]["secret/data/a"]), (&all, &all));
    let ask = json!({"token": token.expose(), "paths": ["secret/data/a", "none"]});
    let body = vault.ok(&vault.root, Update, "sys/capabilities", ask).await;
    assert_eq!(body["data"], json!({"secret/data/a": all, "none": ["deny"]}));
    let lookup = vault.ok(&token, Read, "auth/token/lookup-self", json!({})).await;
    let ask = json!({"accessor": lookup["data"]["accessor"], "paths": "secret/data/a,x"});
    let body = vault.ok(&vault.root, Update, "sys/capabilities-accessor", ask).await;
    assert_eq!(body["data"], json!({"secret/data/a": all, "x": ["deny"]}));
    let body = vault.ok(&vault.root, Update, "sys/capabilities-self", json!({"paths": ["x"]})).await;
    assert_eq!(body["data"], json!({"x": ["root"], "capabilities": ["root"]}));
}
