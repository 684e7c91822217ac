//! The secrets engines behind the whole pipeline: statuses, capabilities, commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Words, vault};
use crate::base::clock::UnixMillis;
use crate::vault::core::testing::Vault;
use crate::vault::core::{Body, Outcome};
use crate::vault::logical::Operation::{Delete, List, Patch, Read, Update};
use crate::vault::physical::{
    Backend, Confirmed, Consistency, Keys, Ledger, Limits, ReadPass, Reading, Stamp, StorageError,
    SubmitError, Transaction,
};

async fn commits(vault: &Vault) -> u64 {
    vault.backend.check().await.expect("checked").expect("head").seq
}

#[tokio::test]
async fn every_write_is_one_commit_and_a_read_is_none() {
    let vault = vault().await;
    let root = &vault.root;
    let mut before = commits(&vault).await;
    for n in 1..=12 {
        vault.ok(root, Update, "secret/data/a", json!({"data": {"v": n}})).await;
        assert_eq!(commits(&vault).await, before + 1, "also where an old version is dropped");
        before += 1;
    }
    vault.ok(root, Patch, "secret/data/a", json!({"data": {"w": 1}})).await;
    vault.done(root, Delete, "secret/data/a", json!({})).await;
    vault.done(root, Update, "secret/undelete/a", json!({"versions": [13]})).await;
    vault.done(root, Update, "secret/destroy/a", json!({"versions": [12]})).await;
    vault.done(root, Update, "old/a", json!({"v": 1})).await;
    vault.done(root, Delete, "secret/metadata/a", json!({})).await;
    assert_eq!(commits(&vault).await, before + 6);
    vault.refused(404, root, Read, "secret/data/a", json!({})).await;
    vault.ok(root, Read, "old/a", json!({})).await;
    vault.refused(400, root, Update, "secret/data/b", json!({})).await;
    assert_eq!(commits(&vault).await, before + 6);
}

#[tokio::test]
async fn a_deleted_secret_is_404_with_its_envelope() {
    let vault = vault().await;
    let root = &vault.root;
    vault.ok(root, Update, "secret/data/a", json!({"data": {"v": 1}})).await;
    vault.done(root, Delete, "secret/data/a", json!({})).await;
    let (status, body) = vault.ask(root, Read, "secret/data/a", json!({})).await;
    assert_eq!((status, &body["data"]["data"]), (404, &Value::Null));
    assert_eq!((&body["data"]["metadata"]["version"], body.get("errors")), (&json!(1), None));
    let (status, body) = vault.ask(root, Read, "secret/a", json!({})).await;
    let warning = body["warnings"][0].as_str().unwrap_or_default();
    assert!(status == 404 && warning.contains("'vault kv get'"), "{body:?}");
    let (status, _) = vault.ask(root, Patch, "secret/data/none", json!({"data": {}})).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn create_and_update_are_different_capabilities() {
    let vault = vault().await;
    for mount in ["old", "secret/data"] {
        let path = format!("{mount}/a");
        let rule = |capability: &str| format!("path \"{mount}/*\" {{ capabilities = [\"{capability}\"] }}");
        let creator = vault.token_that_may(&rule("create")).await;
        let updater = vault.token_that_may(&rule("update")).await;
        let value = json!({"data": {"v": 1}});
        vault.refused(403, &updater, Update, &path, value.clone()).await;
        assert!(vault.ask(&creator, Update, &path, value.clone()).await.0 < 300);
        vault.refused(403, &creator, Update, &path, value.clone()).await;
        assert!(vault.ask(&updater, Update, &path, value).await.0 < 300);
        vault.refused(403, &updater, Patch, &path, json!({"data": {}})).await;
    }
}

#[tokio::test]
async fn lists_end_in_404_where_there_is_nothing() {
    let vault = vault().await;
    let root = &vault.root;
    vault.refused(404, root, List, "secret/metadata/", json!({})).await;
    vault.ok(root, Update, "secret/data/a/b", json!({"data": {}})).await;
    let body = vault.ok(root, List, "secret/metadata/", json!({})).await;
    assert_eq!(body["data"]["keys"], json!(["a/"]));
    vault.done(root, Update, "old/http://test.com", json!({"v": 1})).await;
    assert_eq!(vault.ok(root, Read, "old/http://test.com", json!({})).await["lease_duration"], 2_764_800);
}

#[tokio::test]
async fn a_standby_serves_reads_and_sends_writes_on() {
    let vault = vault().await;
    let root = &vault.root;
    vault.ok(root, Update, "secret/data/a", json!({"data": {"v": 1}})).await;
    vault.ledger.set_writable(false);
    assert_eq!(vault.ok(root, Read, "secret/data/a", json!({})).await["data"]["data"], json!({"v": 1}));
    for (operation, path) in [(Update, "secret/data/a"), (Delete, "secret/data/a"), (Read, "sys/ha-status")] {
        let outcome = vault.outcome(root, operation, path, json!({"data": {}})).await;
        assert!(matches!(outcome, crate::vault::core::Outcome::NeedsActive), "{operation:?} {path}");
    }
}

/// A ledger on which others write as much as they like between two reads of a request, `times` times.
struct Busy {
    vault: Vault,
    times: AtomicUsize,
    is_writable: bool,
}

impl Busy {
    fn new(vault: Vault, times: usize, is_writable: bool) -> Arc<Self> {
        Arc::new(Self { vault, times: AtomicUsize::new(times), is_writable })
    }
}

#[async_trait]
impl Ledger for Busy {
    fn limits(&self) -> Limits {
        self.vault.ledger.limits()
    }

    fn time(&self) -> UnixMillis {
        self.vault.ledger.time()
    }

    fn is_writable(&self) -> bool {
        self.is_writable
    }

    async fn begin(&self, max_staleness_ms: u64) -> Result<ReadPass, SubmitError> {
        self.vault.ledger.begin(max_staleness_ms).await
    }

    async fn get(&self, key: &str, consistency: Consistency) -> Result<Reading, StorageError> {
        let left = self.times.load(Ordering::Relaxed);
        if key.contains("/versions/") && left > 0 {
            self.times.store(left - 1, Ordering::Relaxed);
            for n in 0..11 {
                self.vault.ok(&self.vault.root, Update, "secret/data/a", json!({"data": {"v": n}})).await;
            }
        }
        self.vault.ledger.get(key, consistency).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        consistency: Consistency,
    ) -> Result<Keys, StorageError> {
        self.vault.ledger.list(prefix, after, limit, consistency).await
    }

    async fn submit(&self, transaction: Transaction) -> Result<Confirmed, SubmitError> {
        self.vault.ledger.submit(transaction).await
    }

    async fn confirm(&self, pass: &ReadPass, newest: Option<Stamp>) -> Result<Confirmed, SubmitError> {
        self.vault.ledger.confirm(pass, newest).await
    }
}

#[tokio::test]
async fn a_read_between_many_writes_of_its_key_is_no_internal_error() {
    for (times, version, is_writable) in [(0, 1, true), (1, 12, true), (5, 56, true), (8, 89, false)] {
        let vault = vault().await;
        vault.ok(&vault.root, Update, "secret/data/a", json!({"data": {"v": "first"}})).await;
        let call = vault.call(&vault.root, Read, "secret/data/a", &json!({}));
        let core = Arc::clone(&vault.core);
        let busy = Busy::new(vault, times, is_writable);
        match core.handle(busy, call).await {
            Outcome::Reply(reply) => match reply.body {
                Body::Json(body) => {
                    assert_eq!((reply.status, &body["data"]["metadata"]["version"]), (200, &json!(version)));
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_stays_senseless_is_for_the_active_node_and_an_internal_error_there_in_the_end() {
    for is_writable in [true, false] {
        let vault = vault().await;
        vault.ok(&vault.root, Update, "secret/data/a", json!({"data": {"v": "first"}})).await;
        let call = vault.call(&vault.root, Read, "secret/data/a", &json!({}));
        let core = Arc::clone(&vault.core);
        match core.handle(Busy::new(vault, usize::MAX, is_writable), call).await {
            Outcome::Reply(reply) if is_writable => assert_eq!(reply.status, 500),
            Outcome::NeedsActive if !is_writable => {}
            other => panic!("{other:?}"),
        }
    }
}
