//! What a quorum of key shares may do: `sys/generate-root`, `sys/rekey`, `sys/rekey-recovery-key`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Words, core, unseal, vault_by};
use crate::base::id;
use crate::base::secret::{SecretBytes, SecretString};
use crate::vault::core::testing::{Vault, init_params};
use crate::vault::core::{InitAnswer, InitParams, Outcome};
use crate::vault::logical::Operation::{self, Delete, Read, Update};
use crate::vault::logical::testing::untried;
use crate::vault::seal::{Seal, ShamirSeal, StaticKey, StaticSeal};

const ATTEMPT: &str = "sys/generate-root/attempt";
const ROOT: &str = "sys/generate-root/update";

/// What nobody reads as a refusal.
const SILENT: &[(&str, &str)] = &[
    ("holdfast recovery key", "a label in the derivation of a key"),
    ("root generation", "the name of an operation in other texts"),
    ("rekey verification", "the name of an operation in other texts"),
    ("the mount table lacks auth/token/", "for the log; the caller reads `internal error`"),
];

fn nobody() -> SecretString {
    SecretString::from("")
}

async fn shamir(shares: u8, threshold: u8) -> (Vault, InitAnswer) {
    vault_by(Arc::new(ShamirSeal), init_params(shares, threshold)).await
}

fn static_seal() -> Arc<dyn Seal> {
    let key = StaticKey::new("1", &SecretBytes::new(vec![7; 32])).expect("key");
    Arc::new(StaticSeal::new(key, None).expect("seal"))
}

async fn automatic(shares: u8, threshold: u8) -> (Vault, InitAnswer) {
    let params = InitParams { recovery_shares: shares, recovery_threshold: threshold, ..init_params(0, 0) };
    vault_by(static_seal(), params).await
}

/// An answer without the envelope, to a request without a token.
async fn raw(vault: &Vault, operation: Operation, path: &str, data: Value) -> (u16, Map<String, Value>) {
    match vault.outcome(&nobody(), operation, path, data).await {
        Outcome::Reply(reply) => match reply.body {
            crate::vault::core::Body::Json(body) => (reply.status, body),
            crate::vault::core::Body::Empty => (reply.status, Map::new()),
            crate::vault::core::Body::Raw { bytes, .. } => {
                (reply.status, serde_json::from_slice(&bytes).expect("an object"))
            }
        },
        other => panic!("no reply: {other:?}"),
    }
}

async fn ok(vault: &Vault, operation: Operation, path: &str, data: Value) -> Map<String, Value> {
    let (status, body) = raw(vault, operation, path, data).await;
    assert_eq!(status, 200, "{operation:?} {path}: {body:?}");
    body
}

async fn refused(vault: &Vault, operation: Operation, path: &str, data: Value) -> String {
    let (status, body) = raw(vault, operation, path, data).await;
    assert_eq!(status, 400, "{operation:?} {path}: {body:?}");
    body["errors"][0].as_str().expect("a text").to_owned()
}

fn share(key: &SecretBytes, nonce: &Value) -> Value {
    json!({ "key": id::hex(key.expose()), "nonce": nonce })
}

/// The token in the answer that completes an attempt with this one-time password.
fn token(answer: &Map<String, Value>, otp: &str) -> SecretString {
    let encoded = answer["encoded_token"].as_str().expect("a token");
    assert_eq!(answer["encoded_root_token"], encoded);
    let bytes = STANDARD_NO_PAD.decode(encoded).expect("base64 without padding");
    let text: String = bytes.iter().zip(otp.bytes()).map(|(byte, otp)| char::from(byte ^ otp)).collect();
    assert!(text.starts_with("hvs.") && text.len() == 28);
    SecretString::from(text)
}

#[tokio::test]
async fn a_quorum_makes_a_root_token_without_one() {
    let (vault, answer) = shamir(3, 2).await;
    let idle = ok(&vault, Read, ATTEMPT, json!({})).await;
    let expected = json!({
        "nonce": "", "started": false, "progress": 0, "required": 2, "complete": false, "encoded_token": "",
        "encoded_root_token": "", "pgp_fingerprint": "", "otp": "", "otp_length": 28,
    });
    assert_eq!(Value::Object(idle.clone()), expected);
    let begun = ok(&vault, Update, ATTEMPT, json!({})).await;
    let (nonce, otp) = (&begun["nonce"], begun["otp"].as_str().expect("made"));
    assert_eq!((begun["started"].clone(), otp.len()), (json!(true), 28));
    let shown = ok(&vault, Read, ATTEMPT, json!({})).await;
    assert_eq!((&shown["otp"], &shown["nonce"]), (&json!(""), nonce), "told once");
    let first = share(&answer.keys[0], nonce);
    for _ in 0..2 {
        let given = ok(&vault, Update, ROOT, first.clone()).await;
        assert_eq!((&given["progress"], &given["complete"]), (&json!(1), &json!(false)), "counted once");
    }
    let last = share(&answer.keys[2], nonce);
    let made = ok(&vault, Update, ROOT, last.clone()).await;
    assert_eq!((&made["progress"], &made["complete"]), (&json!(2), &json!(true)));
    let root = token(&made, otp);
    let body = vault.ok(&root, Read, "auth/token/lookup-self", json!({})).await;
    assert_eq!((&body["data"]["policies"], &body["data"]["ttl"]), (&json!(["root"]), &json!(0)));
    assert_eq!(body["data"]["orphan"], json!(true));
    // Whoever lost the answer asks again; another share, or a later time, is no way to it.
    assert_eq!(ok(&vault, Update, ROOT, last.clone()).await, made);
    assert_eq!(refused(&vault, Update, ROOT, first).await, "no root generation in progress");
    assert_eq!(ok(&vault, Read, ATTEMPT, json!({})).await, idle);
    let sweep = async || {
        while vault.core.expire_due(Arc::clone(&vault.ledger) as _, 9).await.expect("swept").more {}
        vault.keys("core/generate-root").await.len()
    };
    assert_eq!(sweep().await, 1);
    vault.clock.advance(Duration::from_secs(601));
    assert_eq!(refused(&vault, Update, ROOT, last).await, "no root generation in progress");
    assert_eq!(sweep().await, 0);
}

#[tokio::test]
async fn an_attempt_goes_on_at_another_node_and_ends_when_it_is_cancelled() {
    let (vault, answer) = shamir(3, 3).await;
    let otp = "a".repeat(28);
    let begun = ok(&vault, Update, ATTEMPT, json!({ "otp": otp })).await;
    assert_eq!(begun["otp"], json!(""), "the caller knows its own");
    let nonce = &begun["nonce"];
    ok(&vault, Update, ROOT, share(&answer.keys[0], nonce)).await;
    let other = core(Arc::new(ShamirSeal), Arc::clone(&vault.clock));
    unseal(&other, &vault.backend, &answer).await;
    let next = Vault { core: other, ..vault };
    assert_eq!(ok(&next, Read, ATTEMPT, json!({})).await["progress"], json!(1));
    // Three that do not fit: as many are asked for again, of the same attempt.
    let foreign = shamir(3, 3).await.1;
    ok(&next, Update, ROOT, share(&answer.keys[1], nonce)).await;
    let text = refused(&next, Update, ROOT, share(&foreign.keys[2], nonce)).await;
    assert_eq!(text, "the key shares do not fit; give all of them again");
    assert_eq!(ok(&next, Read, ATTEMPT, json!({})).await["progress"], json!(0));
    let mut made = Map::new();
    for key in &answer.keys {
        made = ok(&next, Update, ROOT, share(key, nonce)).await;
    }
    next.ok(&token(&made, &otp), Read, "sys/mounts", json!({})).await;
    let begun = ok(&next, Update, ATTEMPT, json!({})).await;
    ok(&next, Update, ROOT, share(&answer.keys[0], &begun["nonce"])).await;
    next.done(&nobody(), Delete, ATTEMPT, json!({})).await;
    assert!(next.keys("core/generate-root").await.is_empty());
    next.done(&nobody(), Delete, ATTEMPT, json!({})).await;
}

/// The new shares in an answer.
fn keys(answer: &Map<String, Value>) -> Vec<SecretBytes> {
    let keys = answer["keys"].as_array().expect("keys").iter();
    let keys = keys.map(|key| SecretBytes::new(id::unhex(key.as_str().expect("text")).expect("hex")));
    keys.collect()
}

/// Whether these shares unseal a node of this vault, and it then reads what was written.
async fn opens(vault: &Vault, keys: &[SecretBytes]) -> bool {
    let node = core(Arc::new(ShamirSeal), Arc::clone(&vault.clock));
    for key in keys {
        if node.unseal(&vault.backend, key.clone()).await.is_err() {
            return false;
        }
    }
    let (node, root) = (Vault { core: node, ledger: Arc::clone(&vault.ledger), ..copy(vault) }, &vault.root);
    let body = node.ok(root, Read, "secret/data/a", json!({})).await;
    body["data"]["data"]["n"] == json!(1)
}

fn copy(vault: &Vault) -> Vault {
    Vault {
        core: Arc::clone(&vault.core),
        backend: vault.backend.clone(),
        ledger: Arc::clone(&vault.ledger),
        clock: Arc::clone(&vault.clock),
        root: vault.root.clone(),
    }
}

#[tokio::test]
async fn new_shares_take_the_place_of_the_old_ones() {
    let (vault, answer) = shamir(1, 1).await;
    vault.ok(&vault.root, Update, "secret/data/a", json!({ "data": { "n": 1 } })).await;
    let standby = core(Arc::new(ShamirSeal), Arc::clone(&vault.clock));
    unseal(&standby, &vault.backend, &answer).await;
    let idle = ok(&vault, Read, "sys/rekey/init", json!({})).await;
    assert_eq!((&idle["started"], &idle["required"], &idle["t"]), (&json!(false), &json!(1), &json!(0)));
    let wish = json!({ "secret_shares": 5, "secret_threshold": 3 });
    let begun = ok(&vault, Update, "sys/rekey/init", wish).await;
    let shown = |body: &Map<String, Value>| {
        ["started", "t", "n", "progress", "required", "backup", "verification_required"]
            .map(|name| body[name].clone())
    };
    assert_eq!(json!(shown(&begun)), json!([true, 3, 5, 0, 1, false, false]));
    let last = share(&answer.keys[0], &begun["nonce"]);
    let done = ok(&vault, Update, "sys/rekey/update", last.clone()).await;
    assert_eq!((&done["complete"], &done["nonce"]), (&json!(true), &begun["nonce"]));
    let new = keys(&done);
    assert_eq!(new.len(), 5);
    assert!(opens(&vault, &new[1..4]).await && !opens(&vault, &answer.keys).await);
    assert_eq!(
        ok(&vault, Update, "sys/rekey/update", last).await,
        done,
        "whoever lost the answer asks again"
    );
    assert_eq!(ok(&vault, Read, "sys/rekey/init", json!({})).await["required"], json!(3));
    // The root key is another one now; a standby that was unsealed by the old shares follows, also after a rotation.
    vault.done(&vault.root, Update, "sys/rotate", json!({})).await;
    vault.ok(&vault.root, Update, "secret/data/b", json!({ "data": { "n": 2 } })).await;
    let standby = Vault { core: standby, ..copy(&vault) };
    let body = standby.ok(&vault.root, Read, "secret/data/b", json!({})).await;
    assert_eq!(body["data"]["data"]["n"], json!(2));
    assert!(opens(&vault, &new[2..]).await);
}

#[tokio::test]
async fn new_shares_that_are_to_be_verified_count_once_they_were_given_back() {
    let (vault, answer) = shamir(1, 1).await;
    vault.ok(&vault.root, Update, "secret/data/a", json!({ "data": { "n": 1 } })).await;
    let wish = json!({ "secret_shares": 2, "secret_threshold": 2, "require_verification": true });
    let nonce = ok(&vault, Update, "sys/rekey/init", wish).await["nonce"].clone();
    let issued = ok(&vault, Update, "sys/rekey/update", share(&answer.keys[0], &nonce)).await;
    let new = keys(&issued);
    assert_eq!(issued["verification_required"], json!(true));
    assert!(opens(&vault, &answer.keys).await, "the old one still counts");
    let shown = ok(&vault, Read, "sys/rekey/init", json!({})).await;
    assert_eq!(
        (&shown["started"], &shown["verification_nonce"]),
        (&json!(true), &issued["verification_nonce"])
    );
    let verify = "sys/rekey/verify";
    let first = ok(&vault, Update, verify, share(&new[0], &issued["verification_nonce"])).await;
    assert_eq!((&first["progress"], &first["t"], &first["n"]), (&json!(1), &json!(2), &json!(2)));
    let again = ok(&vault, Delete, verify, json!({})).await;
    assert_eq!(again["progress"], json!(0));
    assert_ne!(again["nonce"], issued["verification_nonce"]);
    let nonce = &again["nonce"];
    assert_eq!(ok(&vault, Read, verify, json!({})).await, again);
    ok(&vault, Update, verify, share(&new[0], nonce)).await;
    let foreign = shamir(2, 2).await.1;
    let text = refused(&vault, Update, verify, share(&foreign.keys[1], nonce)).await;
    assert_eq!(text, "the new key shares do not fit together; give all of them again");
    ok(&vault, Update, verify, share(&new[0], nonce)).await;
    for _ in 0..2 {
        let done = ok(&vault, Update, verify, share(&new[1], nonce)).await;
        assert_eq!(Value::Object(done), json!({ "nonce": nonce, "complete": true }));
    }
    assert!(opens(&vault, &new).await && !opens(&vault, &answer.keys).await);
    assert_eq!(ok(&vault, Read, "sys/rekey/init", json!({})).await["started"], json!(false));
}

#[tokio::test]
async fn recovery_keys_give_authority_where_the_seal_opens_by_itself() {
    let (vault, answer) = automatic(3, 2).await;
    let begun = ok(&vault, Update, ATTEMPT, json!({})).await;
    let mut made = Map::new();
    for key in &answer.recovery_keys[1..] {
        made = ok(&vault, Update, ROOT, share(key, &begun["nonce"])).await;
    }
    let root = token(&made, begun["otp"].as_str().expect("made"));
    vault.ok(&root, Read, "sys/mounts", json!({})).await;
    let wish = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let nonce = ok(&vault, Update, "sys/rekey-recovery-key/init", wish).await["nonce"].clone();
    let mut done = Map::new();
    for key in &answer.recovery_keys[..2] {
        done = ok(&vault, Update, "sys/rekey-recovery-key/update", share(key, &nonce)).await;
    }
    let new = keys(&done);
    let begun = ok(&vault, Update, ATTEMPT, json!({})).await;
    assert_eq!(begun["required"], json!(1));
    let text = refused(&vault, Update, ROOT, share(&SecretBytes::new(vec![9; 32]), &begun["nonce"])).await;
    assert_eq!(text, "the key shares do not fit; give all of them again");
    assert_eq!(ok(&vault, Update, ROOT, share(&new[0], &begun["nonce"])).await["complete"], json!(true));
    let node = core(static_seal(), Arc::clone(&vault.clock));
    assert!(node.auto_unseal(&vault.backend).await.expect("unsealed"), "the seal is the same");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_text() {
    assert_eq!(untried(&["vault/core/quorum"], &refusals().await, SILENT), [""; 0]);
}

type Case = (Operation, &'static str, Value, &'static str);

/// What is refused while nothing is under way; `key` is a share.
fn idle_cases(key: &str) -> Vec<Case> {
    let running = json!({ "key": key, "nonce": "other" });
    vec![
        (Update, ROOT, running.clone(), "no root generation in progress"),
        (Update, ROOT, json!({ "nonce": "x" }), "'key' must be specified in request body as JSON"),
        (Update, ROOT, json!({ "key": key }), "'nonce' must be specified in request body as JSON"),
        (Update, ROOT, json!({ "key": "?", "nonce": "x" }), "'key' must be a valid hex or base64 string"),
        (Update, ATTEMPT, json!({ "otp": "short" }), "OTP string is wrong length"),
        (
            Update,
            ATTEMPT,
            json!({ "pgp_key": "x" }),
            "PGP keys are not supported: leave pgp_key out, and the answer comes in the clear",
        ),
        (Update, "sys/rekey/update", running.clone(), "no rekey in progress"),
        (Read, "sys/rekey/verify", json!({}), "no rekey verification in progress"),
        (
            Update,
            "sys/rekey/init",
            json!({ "secret_shares": 1, "secret_threshold": 1, "backup": true }),
            "cannot request a backup of the new keys without providing PGP keys for encryption",
        ),
        (
            Update,
            "sys/rekey/init",
            json!({ "secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["x"] }),
            "PGP keys are not supported: leave pgp_keys out, and the answer comes in the clear",
        ),
        (Update, "sys/rekey/init", json!({ "secret_shares": 256 }), "secret_shares must be at most 255"),
        (
            Update,
            "sys/rekey/init",
            json!({ "secret_shares": 2, "secret_threshold": 1 }),
            "invalid seal configuration: secret_threshold must be greater than 1 if secret_shares is greater than 1",
        ),
        (
            Read,
            "sys/rekey-recovery-key/init",
            json!({}),
            "recovery rekeying not supported: this seal has no recovery key",
        ),
    ]
}

/// All refusals, each with input that produces it.
pub(super) async fn refusals() -> Vec<String> {
    let (vault, answer) = shamir(1, 1).await;
    let key = id::hex(answer.keys[0].expose());
    let mut texts = Vec::new();
    let running = json!({ "key": key, "nonce": "other" });
    let plain = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let verified = json!({ "secret_shares": 1, "secret_threshold": 1, "require_verification": true });
    for (operation, path, data, text) in idle_cases(&key) {
        assert_eq!(refused(&vault, operation, path, data).await, text, "{path}");
        texts.push(text.to_owned());
    }
    let attempt = ok(&vault, Update, ATTEMPT, json!({})).await["nonce"].clone();
    let rekey = ok(&vault, Update, "sys/rekey/init", plain).await["nonce"].clone();
    let nonce = |operation: &str, nonce: &Value| {
        format!("incorrect nonce supplied; nonce for this {operation} operation is {nonce}")
    };
    for (operation, path, data, text) in [
        (Update, ATTEMPT, json!({}), "root generation already in progress".to_owned()),
        (Update, ROOT, running.clone(), nonce("root generation", &attempt)),
        (Update, "sys/rekey/init", verified.clone(), "rekey already in progress".to_owned()),
        (Update, "sys/rekey/update", running.clone(), nonce("rekey", &rekey)),
        (
            Update,
            ROOT,
            json!({ "key": "abcd", "nonce": attempt }),
            "key is 2 bytes long, a share of this vault has 32".to_owned(),
        ),
    ] {
        assert_eq!(refused(&vault, operation, path, data).await, text, "{path}");
        texts.push(text);
    }
    vault.done(&nobody(), Delete, "sys/rekey/init", json!({})).await;
    let rekey = ok(&vault, Update, "sys/rekey/init", verified).await["nonce"].clone();
    let issued = ok(&vault, Update, "sys/rekey/update", json!({ "key": key, "nonce": rekey })).await;
    let text = refused(&vault, Update, "sys/rekey/verify", running).await;
    assert_eq!(text, nonce("rekey verification", &issued["verification_nonce"]));
    texts.push(text);
    let wrong = share(&SecretBytes::new(vec![3; 32]), &issued["verification_nonce"]);
    texts.push(refused(&vault, Update, "sys/rekey/verify", wrong).await);
    let wrong = share(&SecretBytes::new(vec![3; 32]), &attempt);
    texts.push(refused(&vault, Update, ROOT, wrong).await);

    texts.extend(automatic_refusals().await);
    texts
}

/// Those of a seal that opens by itself.
async fn automatic_refusals() -> Vec<String> {
    let mut texts = Vec::new();
    let (vault, _) = automatic(0, 0).await;
    texts.push(refused(&vault, Update, ATTEMPT, json!({})).await);
    let (vault, _) = automatic(1, 1).await;
    texts.push(refused(&vault, Read, "sys/rekey/init", json!({})).await);
    // As a vault of an earlier version has it.
    let nonce = ok(&vault, Update, ATTEMPT, json!({})).await["nonce"].clone();
    forget(&vault, "core/recovery-key").await;
    texts.push(refused(&vault, Update, ROOT, share(&SecretBytes::new(vec![3; 32]), &nonce)).await);
    texts
}

/// Removes a record as nobody else can.
async fn forget(vault: &Vault, key: &str) {
    use crate::vault::physical::{Ledger, Transaction};
    let writes = [(key.to_owned(), None)].into();
    vault.ledger.submit(Transaction { writes, ..Transaction::default() }).await.expect("removed");
}
