//! Tokens through the pipeline.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::secret::SecretString;
use crate::vault::core::testing::Vault;
use crate::vault::core::{CoreError, Outcome, Swept, records};
use crate::vault::logical::Operation::{Read, Update};
use crate::vault::physical::SubmitError;

async fn sweep(vault: &Vault) -> Swept {
    for _ in 0..200 {
        let swept = vault.core.expire_due(Arc::clone(&vault.ledger) as _, 4).await.expect("swept");
        if !swept.more {
            return swept;
        }
    }
    panic!("the sweep does not end");
}

async fn lookup(vault: &Vault, token: &SecretString) -> (u16, Value) {
    let (status, mut body) =
        vault.ask(&vault.root, Update, "auth/token/lookup", json!({"token": token.expose()})).await;
    (status, body.remove("data").unwrap_or_default())
}

#[tokio::test]
async fn every_use_counts_even_if_the_request_fails() {
    let vault = Vault::unsealed().await;
    let token = vault.token(&vault.root, json!({"policies": ["default"], "num_uses": 3, "ttl": 600})).await;
    assert_eq!(vault.ask(&token, Read, "secret/denied", json!({})).await.0, 403);
    assert_eq!(lookup(&vault, &token).await.1["num_uses"], json!(2));
    // A conflict runs the request again without taking another use.
    vault.ledger.fail_next([SubmitError::Conflict]);
    assert_eq!(vault.ask(&token, Update, "cubbyhole/x", json!({"a": 1})).await.0, 204);
    assert_eq!(lookup(&vault, &token).await.1["num_uses"], json!(1));
    assert_eq!(vault.ask(&token, Read, "cubbyhole/x", json!({})).await.0, 200, "the last use");
    assert_eq!(vault.ask(&token, Read, "cubbyhole/x", json!({})).await.0, 403);
    assert_eq!(lookup(&vault, &token).await.0, 403);
}

#[tokio::test]
async fn concurrent_requests_never_use_a_token_too_often() {
    let vault = Arc::new(Vault::unsealed().await);
    let token = vault.token(&vault.root, json!({"policies": ["default"], "num_uses": 3})).await;
    let requests = (0..12).map(|n| {
        let (vault, token) = (Arc::clone(&vault), token.clone());
        async move { vault.ask(&token, Update, &format!("cubbyhole/{n}"), json!({})).await.0 }
    });
    let statuses = futures_util::future::join_all(requests).await;
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 9, "{statuses:?}");
}

#[tokio::test]
async fn a_used_up_token_whose_node_dies_is_swept() {
    let vault = Vault::unsealed().await;
    let before = vault.keys("sys/").await;
    let token =
        vault.token(&vault.root, json!({"policies": ["default"], "num_uses": 1, "ttl": 36_000})).await;
    // The use is taken; then neither the request nor the removal of the token can be committed.
    let lost = || Some(SubmitError::Unknown { reason: "lost".to_owned() });
    vault.ledger.script([None, lost(), lost()]);
    let outcome = vault.outcome(&token, Update, "cubbyhole/x", json!({})).await;
    assert!(matches!(outcome, Outcome::Failed(CoreError::Unknown(_))), "{outcome:?}");
    assert!(vault.keys("sys/").await.len() > before.len());
    assert_eq!(vault.ask(&token, Update, "cubbyhole/x", json!({})).await.0, 403, "its use is gone");
    vault.clock.advance(Duration::from_secs(121));
    sweep(&vault).await;
    assert_eq!(vault.keys("sys/").await, before);
}

#[tokio::test]
async fn revoking_a_parent_ends_the_tree_at_once_and_leaves_nothing() {
    let vault = Vault::unsealed().await;
    let policy = r#"path "auth/token/*" { capabilities = ["update"] }
                    path "cubbyhole/*" { capabilities = ["create", "read"] }"#;
    vault.ask(&vault.root, Update, "sys/policy/p", json!({"policy": policy})).await;
    let before = vault.keys("").await;
    let spec = || json!({"policies": ["p"], "ttl": 3600});
    let parent = vault.token(&vault.root, spec()).await;
    let mut children = Vec::new();
    for _ in 0..5 {
        let child = vault.token(&parent, spec()).await;
        for n in 0..20 {
            assert_eq!(vault.ask(&child, Update, &format!("cubbyhole/{n}"), json!({})).await.0, 204);
        }
        children.push(vault.token(&child, spec()).await);
        children.push(child);
    }
    assert_eq!(
        vault.ask(&vault.root, Update, "auth/token/revoke", json!({"token": parent.expose()})).await.0,
        204
    );
    for token in children.iter().chain([&parent]) {
        assert_eq!(lookup(&vault, token).await.0, 403, "ended before any sweep");
    }
    sweep(&vault).await;
    assert_eq!(vault.keys("").await, before);
}

#[tokio::test]
async fn orphans_survive_their_parent() {
    let vault = Vault::unsealed().await;
    let policy = r#"path "auth/token/*" { capabilities = ["update"] }"#;
    vault.ask(&vault.root, Update, "sys/policy/p", json!({"policy": policy})).await;
    let parent = vault.token(&vault.root, json!({"policies": ["p"]})).await;
    let child = vault.token(&parent, json!({"policies": ["p"]})).await;
    let body = json!({"token": parent.expose()});
    assert_eq!(vault.ask(&vault.root, Update, "auth/token/revoke-orphan", body).await.0, 204);
    assert_eq!(lookup(&vault, &parent).await.0, 403);
    assert_eq!(lookup(&vault, &child).await.0, 200);
}

#[tokio::test]
async fn any_number_of_orphans_survive_their_parent_before_and_after_the_sweep() {
    let vault = Vault::unsealed().await;
    let policy = r#"path "auth/token/*" { capabilities = ["update"] }"#;
    vault.ask(&vault.root, Update, "sys/policy/p", json!({"policy": policy})).await;
    let before = vault.keys("").await;
    let spec = || json!({"policies": ["p"], "ttl": 3600});
    let parent = vault.token(&vault.root, json!({"id": "mine", "policies": ["p"], "ttl": 3600})).await;
    let mut tokens = Vec::new();
    for _ in 0..50 {
        let child = vault.token(&parent, spec()).await;
        tokens.push(vault.token(&child, spec()).await);
        tokens.push(child);
    }
    let body = json!({"token": parent.expose()});
    assert_eq!(vault.ask(&vault.root, Update, "auth/token/revoke-orphan", body).await.0, 204);
    let intents = vault.keys(records::REVOKE_PREFIX).await.len();
    assert_eq!(intents, 1, "most are left to the sweep");
    assert_eq!(lookup(&vault, &parent).await.0, 403);
    for token in &tokens {
        assert_eq!(lookup(&vault, token).await.0, 200, "before the sweep");
    }
    // What is done with a child meanwhile lasts: one is renewed, one revoked with its own child.
    let renew = json!({"token": tokens[99].expose(), "increment": 1800});
    assert_eq!(vault.ask(&vault.root, Update, "auth/token/renew", renew).await.0, 200);
    let revoke = json!({"token": tokens[97].expose()});
    assert_eq!(vault.ask(&vault.root, Update, "auth/token/revoke", revoke).await.0, 204);
    let again = json!({"id": "mine", "policies": ["p"]});
    let (status, body) = vault.ask(&vault.root, Update, "auth/token/create", again).await;
    assert_eq!((status, &body["errors"]), (400, &json!(["cannot create a token with a duplicate ID"])));

    sweep(&vault).await;
    assert_eq!(vault.keys(records::REVOKE_PREFIX).await, Vec::<String>::new());
    let links = vault.keys(records::PARENT_PREFIX).await.len();
    assert_eq!(links, 49, "of their own children alone");
    for (number, token) in tokens.iter().enumerate() {
        let expected = if matches!(number, 96 | 97) { 403 } else { 200 };
        assert_eq!(lookup(&vault, token).await.0, expected, "token {number} after the sweep");
    }
    vault.token(&vault.root, json!({"id": "mine", "policies": ["p"], "ttl": 3600})).await;
    assert_eq!(lookup(&vault, &tokens[0]).await.0, 200);
    vault.clock.advance(Duration::from_secs(3601));
    sweep(&vault).await;
    assert_eq!(vault.keys("").await, before);
}

#[tokio::test]
async fn tokens_end_by_cluster_time_and_renewal_moves_the_end() {
    let vault = Vault::unsealed().await;
    let before = vault.keys("").await;
    let token = vault.token(&vault.root, json!({"policies": ["default"], "ttl": 60})).await;
    vault.clock.advance(Duration::from_secs(40));
    assert_eq!(lookup(&vault, &token).await.1["ttl"], json!(20));
    let renew = |increment: u64| json!({"token": token.expose(), "increment": increment});
    let (status, body) = vault.ask(&vault.root, Update, "auth/token/renew", renew(0)).await;
    assert_eq!((status, &body["auth"]["lease_duration"]), (200, &json!(60)));
    vault.clock.advance(Duration::from_secs(40));
    assert_eq!(lookup(&vault, &token).await.0, 200);
    let swept = sweep(&vault).await;
    assert_eq!((swept.steps, swept.next.map(|time| time.0)), (0, Some(1_700_000_100_000)));
    vault.clock.advance(Duration::from_secs(20));
    assert_eq!(lookup(&vault, &token).await.0, 403, "ended before any sweep");
    assert!(vault.keys("").await.len() > before.len());
    sweep(&vault).await;
    assert_eq!(vault.keys("").await, before);
    let (status, body) = vault.ask(&vault.root, Update, "auth/token/renew", renew(10)).await;
    assert_eq!((status, &body["errors"]), (400, &json!(["token not found"])));
    let body = json!({"token": vault.root.expose()});
    let (status, body) = vault.ask(&vault.root, Update, "auth/token/renew", body).await;
    assert_eq!((status, &body["errors"]), (400, &json!(["lease is not renewable"])));
}
