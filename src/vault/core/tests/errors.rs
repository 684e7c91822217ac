//! Each error that the kernel can produce, with input that produces it, and the status and text that a person sees.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::base::clock::ManualClock;
use crate::base::random::{SeededRandom, SystemRandom};
use crate::base::secret::{SecretBytes, SecretString};
use crate::vault::core::mounts::{self, MountTable, new_entry};
use crate::vault::core::policy::DEFAULT_POLICY;
use crate::vault::core::respond::status_of;
use crate::vault::core::testing::{START, Vault, core_with, init_params, lock_name, sealed};
use crate::vault::core::{CoreError, InitParams, MountClass, MountSpec, Outcome, records};
use crate::vault::logical::Operation::{self, Read, Update};
use crate::vault::logical::testing::untried;
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::physical::{
    Backend, BatchId, Commit, Feed, Head, Limits, Listing, Op, StorageError, SubmitError, Value as Stored,
};
use crate::vault::seal::{ShamirSeal, StaticKey, StaticSeal};

/// What no caller reads.
const SILENT: &[(&str, &str)] = &[
    (DEFAULT_POLICY, "the text of a policy"),
    ("per-token private secret storage", "the description of a mount"),
    ("identity store", "the description of a mount"),
    ("system endpoints used for control, policy and debugging", "the description of a mount"),
    ("token based credentials", "the description of a mount"),
    ("holdfast init answer", "a label in the derivation of a key"),
    ("TTL of \"{}\" exceeded the effective max_ttl of \"{}\"; TTL value is capped accordingly", "a warning"),
    ("failed to write the audit log: {0}", "for the log; the caller reads `internal error`"),
    ("line {}, column {}", "for the log; the caller reads `internal error`"),
    ("record {key} cannot be encoded: {error}", "for the log; the caller reads `internal error`"),
    ("the mount table is missing", "for the log; the caller reads `internal error`"),
    ("the first mount table lacks auth/token/", "for the log; the caller reads `internal error`"),
    ("policy {name:?} is not text", "for the log; the caller reads `internal error`"),
    ("record {intent} is damaged", "for the log of the sweep"),
    ("storage {storage} denies access: {reason}", "for the log; the caller reads `internal error`"),
    ("storage {storage} holds no vault: it is not initialised", "said as `security barrier not initialized`"),
    ("the token has no use left", "the request runs again, and is denied"),
    ("another request changed what this one read", "the request runs again"),
    ("the batch was not applied", "the request runs again"),
    ("this node is not the active one", "the request is sent on"),
    ("the text is longer than {MAX_TEXT_BYTES} bytes", "a policy that long is refused before it is parsed"),
];

/// Policies that are none, with what is wrong.
fn policies() -> Vec<(String, &'static str)> {
    let deep = format!("path \"a\" {{ allowed_parameters = {{ a = {} }} }}", "[".repeat(40));
    let deep_json = format!("{{\"path\": {}", "{\"a\": ".repeat(40));
    let rule = |member: &str| format!("path \"a\" {{ {member} }}");
    vec![
        ("pth \"a\" {}".to_owned(), "1, column 1: invalid key \"pth\""),
        (rule("capability = []"), "1, column 12: invalid key \"capability\""),
        (
            "path \"a/+*\" {}".to_owned(),
            "1, column 1: path \"a/+*\": invalid use of wildcards ('+*' is forbidden)",
        ),
        (
            rule("min_wrapping_ttl = 9 max_wrapping_ttl = 3"),
            "1, column 1: path \"a\": max_wrapping_ttl cannot be less than min_wrapping_ttl",
        ),
        (rule("capabilities = [\"fly\"]"), "1, column 12: invalid capability \"fly\""),
        (rule("policy = \"all\""), "1, column 12: policy must be deny, read, write or sudo"),
        (rule("capabilities = \"read\""), "1, column 12: capabilities must be a list, not a string"),
        (rule("capabilities = [1]"), "1, column 12: capabilities must hold strings"),
        (
            rule("allowed_parameters = \"a\""),
            "1, column 12: allowed_parameters must be a block, not a string",
        ),
        (rule("allowed_parameters = { a = 1 }"), "1, column 35: a must be a list, not a number"),
        (rule("min_wrapping_ttl = \"soon\""), "1, column 12: min_wrapping_ttl must be a duration"),
        ("path \"a\" \"b\" {}".to_owned(), "1, column 1: path has 2 labels, expected 1"),
        ("path { a \"b\" {} }".to_owned(), "1, column 8: too many labels, expected 1"),
        ("path \"a\" = 1".to_owned(), "1, column 10: expected { after the labels of \"path\", found '='"),
        ("}".to_owned(), "1, column 1: this } closes nothing"),
        ("/* path".to_owned(), "1, column 1: this comment is not closed"),
        ("path \"a\" {".to_owned(), "1, column 10: this { is not closed"),
        (deep, "1, column 69: nested deeper than 32 levels"),
        (deep_json, "1, column 196: nested deeper than 32 levels"),
        (rule("policy = read"), "1, column 21: read is not a value: put a string in quotes"),
        (rule("capabilities = [\"read\""), "1, column 35: expected , or ], found '}'"),
        ("path \"a\" { capabilities = [\"read\"".to_owned(), "1, column 27: this [ is not closed"),
        ("path \"a".to_owned(), "1, column 6: this string is not closed"),
        ("path \"a\n\" {}".to_owned(), "1, column 8: a string ends on its own line: use \\n or a heredoc"),
        (rule("policy = \"\\xff\""), "1, column 21: the escapes of this string do not make valid UTF-8"),
        (rule("policy = \"\\q\""), "1, column 22: unknown escape in a string"),
        (rule("policy = <<"), "1, column 21: a heredoc begins with << or <<- and a word, then a new line"),
        ("path \"a\" { policy = <<END\nx\n".to_owned(), "1, column 21: this heredoc is not closed by END"),
        (rule("min_wrapping_ttl = 1x"), "1, column 31: \"1x\" is not a number"),
        (rule("policy = !"), "1, column 21: expected a value, found '!'"),
        (rule("policy !"), "1, column 19: expected = or { after \"policy\", found '!'"),
        (rule("policy \"a\" !"), "1, column 23: expected { after the labels of \"policy\", found '!'"),
        (rule("!"), "1, column 12: expected a key or }, found '!'"),
        ("{\"path\": {}} x".to_owned(), "1, column 14: expected the end of the JSON document, found 'x'"),
        ("{path: {}}".to_owned(), "1, column 2: expected a quoted key, found 'p'"),
        ("{\"path\" {}}".to_owned(), "1, column 9: expected : after \"path\", found '{'"),
        ("{\"path\": }".to_owned(), "1, column 10: expected a JSON value, found '}'"),
        ("path = 1".to_owned(), "1, column 1: path must be a block, not a number"),
        ("{\"path\":".to_owned(), "1, column 9: expected a JSON value, found the end of the text"),
    ]
}

/// Refused with 400 for a root token.
fn cases() -> Vec<(&'static str, Value, String)> {
    let long = "x".repeat(256 * 1024 + 1);
    vec![
        ("sys/policy/root", json!({"policy": ""}), "cannot update \"root\" policy".to_owned()),
        ("sys/policy/a b", json!({"policy": ""}), "invalid policy name \"a b\"".to_owned()),
        ("sys/policy/x", json!({"policy": long}), "a policy cannot be longer than 262144 bytes".to_owned()),
        ("sys/delete-policy/default", json!({}), "cannot delete \"default\" policy".to_owned()),
        ("sys/mount", json!({"type": "plain"}), "path must be specified".to_owned()),
        ("sys/mount/a/../b", json!({"type": "plain"}), "invalid mount path \"a/../b\"".to_owned()),
        ("sys/mount/secret/a", json!({"type": "plain"}), "path is already in use at secret/".to_owned()),
        (
            "sys/mount/b",
            json!({"type": "cubbyhole"}),
            "mount type of \"cubbyhole\" is not mountable".to_owned(),
        ),
        ("sys/mount/b", json!({"type": "odd"}), "plugin not found in the catalog: odd".to_owned()),
        ("sys/remount/none", json!({"to": "b"}), "no matching mount at \"none/\"".to_owned()),
        (
            "auth/token/create",
            json!({"type": "batch"}),
            "batch tokens are not supported by this version".to_owned(),
        ),
        (
            "auth/token/create",
            json!({"policies": ["root", "a"]}),
            "root tokens may not have other policies".to_owned(),
        ),
        (
            "auth/token/create",
            json!({"num_uses": 10_000_000_000_000_000_000_u64}),
            "number of uses is too large".to_owned(),
        ),
        (
            "auth/token/create",
            json!({"id": "a.b"}),
            "custom token ID cannot contain '.' or white space".to_owned(),
        ),
        (
            "auth/token/create",
            json!({"id": "hvs-mine"}),
            "custom token ID cannot have a reserved prefix".to_owned(),
        ),
        ("secret/a/", json!({}), "cannot write to a path ending in '/'".to_owned()),
    ]
}

/// Status and text of a request that is refused or fails.
async fn said(
    vault: &Vault,
    token: &SecretString,
    operation: Operation,
    path: &str,
    data: Value,
) -> (u16, String) {
    match vault.outcome(token, operation, path, data).await {
        Outcome::Reply(reply) => {
            let crate::vault::core::Body::Json(body) = &reply.body else { panic!("{path}: {reply:?}") };
            assert_eq!(body["errors"].as_array().map(Vec::len), Some(1), "{path}: {body:?}");
            (reply.status, body["errors"][0].as_str().unwrap_or_default().to_owned())
        }
        Outcome::Failed(error) => of(&error),
        other @ Outcome::NeedsActive => panic!("{path}: {other:?}"),
    }
}

/// Status and text of a failure.
fn of(error: &CoreError) -> (u16, String) {
    (status_of(error.class()), error.public_message())
}

/// Requests that an engine or the pipeline refuses.
async fn refused(texts: &mut Vec<String>) {
    let vault = Vault::unsealed().await;
    let root = vault.root.clone();
    for (path, data, text) in cases() {
        assert_eq!(said(&vault, &root, Update, path, data).await, (400, text.clone()), "{path}");
        texts.push(text);
    }
    for (policy, reason) in policies() {
        let (status, text) = said(&vault, &root, Update, "sys/policy/x", json!({"policy": policy})).await;
        let expected = format!("failed to parse policy: at line {reason}");
        assert_eq!((status, &text), (400, &expected), "{policy}");
        texts.push(text);
    }
    let none = SecretString::from("");
    let no_route = "no handler for route \"nowhere/a\". route entry not found.";
    for (token, operation, path, status, text) in [
        (&none, Read, "secret/a", 403, "permission denied"),
        (&root, Read, "nowhere/a", 404, no_route),
        (&root, Read, "sys/none", 404, "unsupported path"),
    ] {
        assert_eq!(
            said(&vault, token, operation, path, json!({})).await,
            (status, text.to_owned()),
            "{path}"
        );
        texts.push(text.to_owned());
    }
    let mut wrapped = vault.call(&root, Read, "secret/a", &json!({}));
    wrapped.wrap_ttl_seconds = Some(60);
    let Outcome::Reply(reply) = vault.core.handle(Arc::clone(&vault.ledger) as _, wrapped).await else {
        panic!("no reply")
    };
    let text = "response wrapping is not supported by this version";
    assert_eq!(reply.status, 400);
    assert!(format!("{:?}", reply.body).contains(text), "{reply:?}");
    texts.push(text.to_owned());
    token_refusals(&vault, texts).await;
    let random = SeededRandom::new(1);
    let entry = |n| new_entry(&random, MountClass::Secret, &format!("m{n}/"), "plain", [].into());
    let full = MountTable { entries: (0..1000).map(entry).collect() };
    let error = mounts::add(&full, &random, MountClass::Secret, "more", MountSpec::default()).unwrap_err();
    assert_eq!(error.to_string(), "there are 1000 mounts already, which is the limit");
    texts.push(error.to_string());
}

/// Refusals that need more than one token.
async fn token_refusals(vault: &Vault, texts: &mut Vec<String>) {
    let root = &vault.root;
    let mut refuse = async |token: &SecretString, path: &str, data: Value, text: &str| {
        assert_eq!(said(vault, token, Update, path, data).await, (400, text.to_owned()), "{path}");
        texts.push(text.to_owned());
    };
    let create = "auth/token/create";
    vault.token(root, json!({"id": "mine", "policies": ["default"]})).await;
    refuse(root, create, json!({"id": "mine"}), "cannot create a token with a duplicate ID").await;
    let brief = vault.token(root, json!({"policies": ["root"], "ttl": 60})).await;
    let text = "expiring root tokens cannot create non-expiring root tokens";
    refuse(&brief, create, json!({"policies": ["root"]}), text).await;
    let endless = json!({"token": root.expose()});
    refuse(root, "auth/token/renew", endless, "lease is not renewable").await;

    let policy = r#"path "auth/token/*" { capabilities = ["update"] }"#;
    vault.ask(root, Update, "sys/policy/p", json!({"policy": policy})).await;
    let parent = vault.token(root, json!({"policies": ["p"]})).await;
    let mut deepest = parent.clone();
    for _ in 0..31 {
        deepest = vault.token(&deepest, json!({"policies": ["p"]})).await;
    }
    let text = "tokens cannot be nested deeper than 32; make an orphan";
    refuse(&deepest, create, json!({"policies": ["p"]}), text).await;

    vault.clock.advance(Duration::from_secs(100));
    vault.ask(root, Update, "sys/tune/token", json!({"max_ttl": 50})).await;
    let data = json!({"token": parent.expose()});
    refuse(root, "auth/token/renew", data, "past the max TTL, cannot renew").await;
}

/// Requests whose commit or storage fails.
async fn failed(texts: &mut Vec<String>) {
    let vault = Vault::unsealed().await;
    let root = vault.root.clone();
    let storage = "inmem";
    let text = String::from;
    let away = StorageError::Unavailable { storage, reason: text("no answer within 700 ms") };
    let large = StorageError::TooLarge { storage, what: "a value", bytes: 9, limit_bytes: 8 };
    let many = StorageError::TooManyOperations { storage, operations: 9, limit: 8 };
    let full = StorageError::Full { storage, used_bytes: 7, limit_bytes: 8 };
    let damaged = StorageError::Damaged { storage, reason: text("a segment is missing") };
    let denied = StorageError::Denied { storage, reason: text("forbidden") };
    let cases = [
        (
            SubmitError::Unknown { reason: text("lost") },
            503,
            "the request may or may not have been carried out: lost",
        ),
        (SubmitError::Busy, 503, "too many writes are waiting"),
        (away.into(), 503, "storage inmem is unavailable: no answer within 700 ms"),
        (large.into(), 413, "a value of 9 bytes is above the limit of 8 bytes of storage inmem"),
        (many.into(), 413, "a batch of 9 operations is above the limit of 8 operations of storage inmem"),
        (
            StorageError::BadKey { storage }.into(),
            400,
            "storage inmem takes no key that is empty or holds control characters",
        ),
        (
            full.into(),
            400,
            "storage inmem is full: 7 of 8 bytes are in use; delete data, raise the limit or move to another storage",
        ),
        (StorageError::Empty { storage }.into(), 503, "security barrier not initialized"),
        (damaged.into(), 500, "internal error"),
        (denied.into(), 500, "internal error"),
    ];
    for (error, status, text) in cases {
        vault.ledger.fail_next([error]);
        let got = said(&vault, &root, Update, "secret/a", json!({"n": 1})).await;
        assert_eq!(got, (status, text.to_owned()));
        texts.push(text.to_owned());
    }
    vault.ledger.fail_next(vec![SubmitError::Conflict; 20]);
    let text = "too many other requests changed what this one read";
    assert_eq!(said(&vault, &root, Update, "secret/a", json!({})).await, (503, text.to_owned()));
    texts.push(text.to_owned());
    ruin(&vault.backend, records::MOUNTS, None).await;
    assert_eq!(said(&vault, &root, Read, "secret/a", json!({})).await, (500, "internal error".to_owned()));
    vault.core.seal();
    let sealed = said(&vault, &root, Read, "secret/a", json!({})).await;
    assert_eq!(sealed, (503, "Vault is sealed".to_owned()));
    texts.push(sealed.1);
}

/// Replaces or removes a record behind the kernel's back.
async fn ruin(backend: &InmemBackend, key: &str, value: Option<&'static str>) {
    let head = backend.check().await.unwrap().unwrap();
    let next = Head { seq: head.seq + 1, batch_id: BatchId::new(&SystemRandom), ..head.clone() };
    let key = key.to_owned();
    let op = match value {
        Some(value) => Op::Put { key, value: Bytes::from_static(value.as_bytes()) },
        None => Op::Delete { key },
    };
    assert_eq!(backend.commit(Some(&head), &next, &[op]).await, Commit::Committed);
}

/// Init and unseal.
async fn sealed_errors(texts: &mut Vec<String>) {
    let mut hear = |error: CoreError, status: u16, text: &str| {
        assert_eq!((status_of(error.class()), error.to_string()), (status, text.to_owned()));
        let public = if status == 500 { "internal error" } else { text };
        assert_eq!(error.public_message(), public);
        texts.push(text.to_owned());
    };
    let clock = || Arc::new(ManualClock::starting_at(START));
    let shamir = core_with(Arc::new(ShamirSeal), clock());
    let key = StaticKey::new("1", &SecretBytes::new(vec![1; 32])).unwrap();
    let automatic = core_with(Arc::new(StaticSeal::new(key, None).unwrap()), clock());
    let params = |secret: (u8, u8), recovery: (u8, u8)| InitParams {
        recovery_shares: recovery.0,
        recovery_threshold: recovery.1,
        ..init_params(secret.0, secret.1)
    };
    let with = |nonce: &str| InitParams { nonce: Some(nonce.into()), ..init_params(1, 1) };
    let one_of_many = "secret_threshold must be greater than 1 if secret_shares is greater than 1";
    let invalid = |problem: &str| format!("invalid seal configuration: {problem}");
    for (core, params, text) in [
        (&shamir, params((0, 0), (0, 0)), invalid("secret_shares must be at least 1")),
        (&shamir, params((3, 0), (0, 0)), invalid("secret_threshold must be at least 1")),
        (&shamir, params((3, 1), (0, 0)), invalid(one_of_many)),
        (&shamir, params((3, 4), (0, 0)), invalid("secret_threshold cannot be larger than secret_shares")),
        (
            &automatic,
            params((1, 1), (0, 0)),
            "parameters secret_shares,secret_threshold not applicable to seal type static".to_owned(),
        ),
        (&shamir, with("short"), "nonce must be at least 32 characters long".to_owned()),
    ] {
        let error = core.initialise(&InmemBackend::new(), lock_name(), "n", params).await.unwrap_err();
        hear(error, 400, &text);
    }
    let empty = InmemBackend::new();
    let share = || SecretBytes::new(vec![1; 32]);
    hear(shamir.unseal(&empty, share()).await.unwrap_err(), 503, "security barrier not initialized");

    let (vault, _) = sealed(1, 1).await;
    let (core, backend) = (&vault.core, &vault.backend);
    let again = core.initialise(backend, lock_name(), "n", init_params(1, 1)).await.unwrap_err();
    hear(again, 400, "Vault is already initialized");
    let other =
        "the vault was initialised with seal type \"shamir\", but this node is configured for \"static\"";
    hear(automatic.load(backend).await.unwrap_err(), 400, other);
    let text = "this seal opens by itself; its recovery keys cannot unseal";
    hear(automatic.unseal(backend, share()).await.unwrap_err(), 400, text);
    let short = core.unseal(backend, SecretBytes::new(vec![1; 16])).await.unwrap_err();
    hear(short, 400, "key is 16 bytes long, a share of this vault has 32");
    let wrong = core.unseal(backend, share()).await.unwrap_err();
    hear(wrong, 400, "failed to unseal: the unseal key does not fit");
    ruin(backend, records::SEAL_CONFIG, Some("x")).await;
    hear(core.load(backend).await.unwrap_err(), 500, "record core/seal-config is damaged");
    ruin(backend, records::SEAL_CONFIG, None).await;
    let text = "storage vault is damaged: record core/seal-config is missing";
    hear(core.load(backend).await.unwrap_err(), 500, text);

    let nonce = "0123456789abcdef0123456789abcdef";
    let torn = Torn { has_head: true };
    let error = shamir.initialise(&torn, lock_name(), "n", with(nonce)).await.unwrap_err();
    hear(error, 503, "the storage changed meanwhile");
    let torn = Torn { has_head: false };
    let error = shamir.initialise(&torn, lock_name(), "n", with(nonce)).await.unwrap_err();
    hear(error, 503, "the request may or may not have been carried out: no answer");
}

/// A storage that contradicts itself, and answers no commit.
struct Torn {
    has_head: bool,
}

#[async_trait]
impl Backend for Torn {
    fn kind(&self) -> &'static str {
        "torn"
    }

    fn limits(&self) -> Limits {
        InmemBackend::new().limits()
    }

    async fn commit(&self, _: Option<&Head>, _: &Head, _: &[Op]) -> Commit {
        Commit::Unknown { reason: "no answer".to_owned() }
    }

    async fn get(&self, _: &str) -> Result<Stored, StorageError> {
        Err(StorageError::Empty { storage: "torn" })
    }

    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Listing, StorageError> {
        Err(StorageError::Empty { storage: "torn" })
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        if !self.has_head {
            return Ok(None);
        }
        let (vault, _) = sealed(1, 1).await;
        vault.backend.check().await
    }

    async fn follow(&self, _: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        Err(StorageError::Empty { storage: "torn" })
    }
}

#[tokio::test]
async fn every_error_has_its_status_and_text() {
    let mut texts = Vec::new();
    refused(&mut texts).await;
    failed(&mut texts).await;
    sealed_errors(&mut texts).await;
    let folders = ["vault/core", "config/hcl", "vault/physical/backend.rs", "vault/physical/ledger.rs"];
    let mut untried = untried(&folders, &texts, SILENT);
    // What a quorum is told is tried where its endpoints are, in the tests of `sys/`.
    untried.retain(|text| !text.contains("vault/core/quorum"));
    assert_eq!(untried, [""; 0]);
}
