//! Requests through the pipeline.

use std::sync::Arc;

use serde_json::json;

use crate::base::id;
use crate::base::random::SystemRandom;
use crate::base::secret::SecretString;
use crate::vault::core::testing::Vault;
use crate::vault::core::{CoreError, Outcome};
use crate::vault::logical::Operation::{self, Delete, List, Read, Update};
use crate::vault::physical::{Backend, BatchId, Commit, Head, Ledger, Op, SubmitError};

fn errors(texts: &[&str]) -> serde_json::Value {
    json!(texts)
}

#[tokio::test]
async fn a_secret_is_written_read_listed_and_deleted() {
    let vault = Vault::unsealed().await;
    let root = &vault.root;
    let before = vault.backend.check().await.expect("checked").expect("head").seq;
    assert_eq!(vault.ask(root, Update, "secret/a/b", json!({"k": "v"})).await.0, 204);
    assert_eq!(
        vault.backend.check().await.expect("checked").expect("head").seq,
        before + 1,
        "one write, one commit"
    );
    assert_eq!(vault.ask(root, Update, "secret/a", json!({"k": "w"})).await.0, 204);
    let (status, body) = vault.ask(root, Read, "secret/a/b", json!({})).await;
    assert_eq!((status, &body["data"]), (200, &json!({"k": "v"})));
    let (status, body) = vault.ask(root, List, "secret/", json!({})).await;
    assert_eq!((status, &body["data"]["keys"]), (200, &json!(["a", "a/"])));
    assert_eq!(vault.ask(root, Delete, "secret/a/b", json!({})).await.0, 204);
    let (status, body) = vault.ask(root, Read, "secret/a/b", json!({})).await;
    assert_eq!((status, &body["errors"]), (404, &errors(&[])));
    assert_eq!(vault.ask(root, List, "secret/a/", json!({})).await.0, 404);
    assert_eq!(vault.backend.check().await.expect("checked").expect("head").seq, before + 3);
}

#[tokio::test]
async fn a_request_that_fails_writes_nothing() {
    let vault = Vault::unsealed().await;
    let before = vault.backend.check().await.expect("checked");
    let (status, body) = vault.ask(&vault.root, Update, "secret/a", json!({"fail": true})).await;
    assert_eq!((status, &body["errors"]), (400, &errors(&["it failed"])));
    assert_eq!(vault.backend.check().await.expect("checked"), before);
}

#[tokio::test]
async fn refusals_have_their_statuses_and_texts() {
    let vault = Vault::unsealed().await;
    let policy = r#"
        path "secret/*" { capabilities = ["create", "read", "list"] }
        path "secret/shut" { capabilities = ["deny"] }
        path "nowhere/*" { capabilities = ["read"] }
    "#;
    assert_eq!(vault.ask(&vault.root, Update, "sys/policy/p", json!({"policy": policy})).await.0, 204);
    let token = vault.token(&vault.root, json!({"policies": ["p"]})).await;
    let none = SecretString::from("");
    let wrong = SecretString::from("hvs.wrong");
    let denied = "permission denied";
    let cases: Vec<(&SecretString, Operation, &str, u16, Vec<&str>)> = vec![
        (&none, Read, "secret/a", 403, vec![denied]),
        (&wrong, Read, "secret/a", 403, vec![denied]),
        (&none, Read, "nowhere/a", 403, vec![denied]),
        (
            &vault.root,
            Read,
            "nowhere/a",
            404,
            vec!["no handler for route \"nowhere/a\". route entry not found."],
        ),
        (&token, Read, "nowhere/a", 404, vec!["no handler for route \"nowhere/a\". route entry not found."]),
        (&token, Read, "elsewhere/a", 403, vec![denied]),
        (&vault.root, Read, "sys/none", 404, vec!["unsupported path"]),
        (&vault.root, Read, "identity/entity/x", 404, vec!["unsupported path"]),
        (&vault.root, Update, "secret/a/", 400, vec!["cannot write to a path ending in '/'"]),
        (&token, Update, "secret/new", 204, vec![]),
        (&token, Update, "secret/new", 403, vec![denied]),
        (&token, Read, "secret/new", 200, vec![]),
        (&token, Delete, "secret/new", 403, vec![denied]),
        (&token, Read, "secret/shut", 403, vec![denied]),
        (&token, Read, "secret/guarded/x", 403, vec![denied]),
        (&vault.root, Read, "secret/guarded/x", 404, vec![]),
    ];
    for (token, operation, path, status, texts) in cases {
        let (got, body) = vault.ask(token, operation, path, json!({"a": 1})).await;
        assert_eq!(got, status, "{operation:?} {path}: {body:?}");
        if got >= 400 {
            assert_eq!(body["errors"], errors(&texts), "{operation:?} {path}");
        }
    }
    let mut call = vault.call(&vault.root, Read, "secret/new", &json!({}));
    call.wrap_ttl_seconds = Some(60);
    match vault.core.handle(Arc::clone(&vault.ledger) as _, call).await {
        Outcome::Reply(reply) => assert_eq!(reply.status, 400, "a secret is never sent unwrapped instead"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_login_makes_a_token_that_works() {
    let vault = Vault::unsealed().await;
    let (status, body) = vault.ask(&SecretString::from(""), Update, "secret/login", json!({})).await;
    assert_eq!(status, 200);
    let auth = &body["auth"];
    let token: SecretString = auth["client_token"].as_str().expect("token").into();
    assert!(token.expose().starts_with("hvs.") && token.expose().len() == 28);
    assert_eq!((&auth["policies"], &auth["lease_duration"]), (&json!(["default"]), &json!(2_764_800)));
    assert_eq!(
        (&auth["orphan"], &auth["renewable"], &auth["token_type"]),
        (&json!(true), &json!(true), &json!("service"))
    );
    assert_eq!(vault.ask(&token, Update, "cubbyhole/x", json!({"a": 1})).await.0, 204);
    assert_eq!(vault.ask(&token, Read, "secret/x", json!({})).await.0, 403);
}

#[tokio::test]
async fn conflicts_run_the_request_again_within_limits() {
    let vault = Vault::unsealed().await;
    vault.ledger.fail_next([SubmitError::Conflict, SubmitError::NotApplied]);
    assert_eq!(vault.ask(&vault.root, Update, "secret/a", json!({"n": 1})).await.0, 204);
    vault.ledger.fail_next(vec![SubmitError::Conflict; 20]);
    let outcome = vault.outcome(&vault.root, Update, "secret/a", json!({"n": 2})).await;
    assert!(matches!(outcome, Outcome::Failed(CoreError::Unavailable(_))), "{outcome:?}");
    let (_, body) = vault.ask(&vault.root, Read, "secret/a", json!({})).await;
    assert_eq!(body["data"], json!({"n": 1}));
    for (error, expected) in [
        (SubmitError::Unknown { reason: "lost".to_owned() }, CoreError::Unknown("lost".to_owned())),
        (SubmitError::Busy, CoreError::Unavailable("too many writes are waiting".to_owned())),
    ] {
        vault.ledger.fail_next([error]);
        match vault.outcome(&vault.root, Update, "secret/a", json!({})).await {
            Outcome::Failed(error) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
    }
    vault.ledger.fail_next([SubmitError::NotApplied]);
    assert_eq!(
        vault.ask(&vault.root, Read, "secret/a", json!({})).await.0,
        200,
        "a read that saw a failed batch"
    );
    vault.ledger.fail_next([SubmitError::NotActive]);
    assert!(matches!(vault.outcome(&vault.root, Read, "secret/a", json!({})).await, Outcome::NeedsActive));
}

#[tokio::test]
async fn concurrent_mounts_are_all_kept() {
    let vault = Arc::new(Vault::unsealed().await);
    let mounts =
        (0..8).map(|n| {
            let vault = Arc::clone(&vault);
            async move {
                vault.ask(&vault.root, Update, &format!("sys/mount/m{n}"), json!({"type": "plain"})).await.0
            }
        });
    let statuses = futures_util::future::join_all(mounts).await;
    assert_eq!(statuses, vec![204; 8]);
    for n in 0..8 {
        assert_eq!(vault.ask(&vault.root, Update, &format!("m{n}/x"), json!({})).await.0, 204);
    }
}

#[tokio::test]
async fn a_standby_reads_and_sends_on_what_it_cannot_do() {
    let vault = Vault::unsealed().await;
    let limited = vault.token(&vault.root, json!({"policies": ["default"], "num_uses": 5})).await;
    assert_eq!(vault.ask(&vault.root, Update, "secret/a", json!({"n": 1})).await.0, 204);
    vault.ledger.set_writable(false);
    assert_eq!(vault.ask(&vault.root, Read, "secret/a", json!({})).await.0, 200);
    assert_eq!(vault.ask(&SecretString::from("hvs.unknown"), Read, "secret/a", json!({})).await.0, 403);
    for (token, operation, path) in [
        (&vault.root, Update, "secret/a"),
        (&vault.root, Delete, "secret/a"),
        (&vault.root, Read, "secret/active"),
        (&limited, Read, "cubbyhole/a"),
    ] {
        let outcome = vault.outcome(token, operation, path, json!({})).await;
        assert!(matches!(outcome, Outcome::NeedsActive), "{operation:?} {path}: {outcome:?}");
    }
    let mut call = vault.call(&vault.root, Read, "secret/a", &json!({}));
    call.wrap_ttl_seconds = Some(1);
    assert!(matches!(vault.core.handle(Arc::clone(&vault.ledger) as _, call).await, Outcome::NeedsActive));
}

#[tokio::test]
async fn only_declared_routes_with_unlimited_tokens_may_be_repeated() {
    let vault = Vault::unsealed().await;
    let limited = vault.token(&vault.root, json!({"policies": ["default"], "num_uses": 5})).await;
    let ledger: Arc<dyn Ledger> = Arc::clone(&vault.ledger) as _;
    for (token, path, expected) in [
        (&vault.root, "secret/same/a", true),
        (&vault.root, "secret/a", false),
        (&limited, "secret/same/a", false),
        (&SecretString::from("hvs.unknown"), "secret/same/a", false),
        (&vault.root, "nowhere/same/a", false),
    ] {
        let call = vault.call(token, Update, path, &json!({}));
        assert_eq!(vault.core.may_repeat(Arc::clone(&ledger), &call).await, expected, "{path}");
    }
    let traits = vault.core.route_traits(ledger, Read, "secret/active").await.expect("traits");
    assert!(traits.active_only && !traits.unauthenticated);
}

#[tokio::test]
async fn a_record_moved_to_another_path_is_not_served() {
    let vault = Vault::unsealed().await;
    assert_eq!(vault.ask(&vault.root, Update, "secret/a", json!({"n": "a"})).await.0, 204);
    let key = vault.keys("logical/").await.into_iter().find(|key| key.ends_with("/a")).expect("stored");
    let value = vault.backend.get(&key).await.expect("read").value.expect("value");
    let head = vault.backend.check().await.expect("checked").expect("head");
    let next = Head { seq: head.seq + 1, batch_id: BatchId::new(&SystemRandom), ..head.clone() };
    let moved = format!("{}b", key.strip_suffix('a').expect("key"));
    let ops = [Op::Put { key: moved, value }];
    assert_eq!(vault.backend.commit(Some(&head), &next, &ops).await, Commit::Committed);
    let (status, body) = vault.ask(&vault.root, Read, "secret/b", json!({})).await;
    assert_eq!((status, &body["errors"]), (500, &errors(&["internal error"])));
    assert_eq!(vault.ask(&vault.root, Read, "secret/a", json!({})).await.0, 200);
}

#[tokio::test]
async fn unmounting_takes_effect_at_once_and_the_sweep_removes_the_rest() {
    let vault = Vault::unsealed().await;
    assert_eq!(vault.ask(&vault.root, Update, "sys/mount/team/kv", json!({"type": "plain"})).await.0, 204);
    let empty = vault.keys("").await.len();
    for n in 0..100 {
        assert_eq!(vault.ask(&vault.root, Update, &format!("team/kv/{n}"), json!({})).await.0, 204);
    }
    for (path, kind, status, text) in [
        ("team", "plain", 400, "path is already in use at team/kv/"),
        ("team/kv/more", "plain", 400, "path is already in use at team/kv/"),
        ("other", "unknown", 400, "plugin not found in the catalog: unknown"),
        ("other", "cubbyhole", 400, "mount type of \"cubbyhole\" is not mountable"),
        ("sys", "plain", 403, "permission denied"),
        ("a/../b", "plain", 400, "invalid mount path \"a/../b\""),
    ] {
        let (got, body) =
            vault.ask(&vault.root, Update, &format!("sys/mount/{path}"), json!({"type": kind})).await;
        assert_eq!((got, &body["errors"]), (status, &errors(&[text])), "{path}");
    }
    assert_eq!(vault.ask(&vault.root, Update, "sys/remount/team/kv", json!({"to": "moved"})).await.0, 204);
    assert_eq!(vault.ask(&vault.root, Read, "moved/7", json!({})).await.0, 200);
    assert_eq!(vault.ask(&vault.root, Update, "sys/unmount/moved", json!({})).await.0, 204);
    assert_eq!(vault.ask(&vault.root, Read, "moved/7", json!({})).await.0, 404);
    assert_eq!(
        vault.ask(&vault.root, Update, "sys/unmount/moved", json!({})).await.0,
        204,
        "absent is no error"
    );
    let mut rounds = 0;
    while vault.core.expire_due(Arc::clone(&vault.ledger) as _, 2).await.expect("swept").more {
        rounds += 1;
        assert!(rounds < 50);
    }
    assert_eq!(vault.keys("").await.len(), empty);
}

#[tokio::test]
async fn secrets_of_one_request_do_not_reach_another_id() {
    let vault = Vault::unsealed().await;
    let call = vault.call(&vault.root, Update, "secret/login", &json!({}));
    let request_id = call.id.clone();
    match vault.core.handle(Arc::clone(&vault.ledger) as _, call).await {
        Outcome::Reply(reply) => match reply.body {
            crate::vault::core::Body::Json(body) => assert_eq!(body["request_id"], json!(request_id)),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    assert_ne!(request_id, id::uuid(&SystemRandom));
}
