//! Init, unseal, seal.

use std::sync::Arc;

use serde_json::json;

use crate::base::clock::ManualClock;
use crate::base::secret::{SecretBytes, SecretString};
use crate::vault::core::testing::{START, TestLedger, Vault, core_with, init_params, lock_name, sealed};
use crate::vault::core::{CoreError, InitParams, Outcome};
use crate::vault::logical::Operation;
use crate::vault::physical::inmem::InmemBackend;
use crate::vault::physical::{Backend, Ledger};
use crate::vault::seal::{ShamirSeal, StaticKey, StaticSeal};

fn fixed(id: &str, byte: u8) -> Arc<StaticSeal> {
    let key = StaticKey::new(id, &SecretBytes::new(vec![byte; 32])).expect("key");
    Arc::new(StaticSeal::new(key, None).expect("seal"))
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::starting_at(START))
}

#[tokio::test]
async fn any_threshold_of_shares_unseals_and_sealing_forgets_everything() {
    let (vault, answer) = sealed(5, 3).await;
    let (core, backend) = (&vault.core, &vault.backend);
    assert_eq!(answer.keys.len(), 5);
    assert!(answer.keys.iter().all(|key| key.expose().len() == 33));
    assert!(core.load(backend).await.expect("loaded"));
    let status = core.seal_status();
    assert!(status.initialized && status.sealed && status.cluster_id.is_none());
    assert_eq!((status.threshold, status.shares, status.progress, status.nonce.as_str()), (3, 5, 0, ""));

    let status = core.unseal(backend, answer.keys[4].clone()).await.expect("taken");
    assert!(status.progress == 1 && !status.nonce.is_empty());
    // The same share again is no progress.
    assert_eq!(core.unseal(backend, answer.keys[4].clone()).await.expect("taken").progress, 1);
    core.unseal(backend, answer.keys[0].clone()).await.expect("taken");
    let status = core.unseal(backend, answer.keys[2].clone()).await.expect("unsealed");
    assert!(!status.sealed && status.progress == 0 && status.nonce.is_empty());
    assert_eq!(status.cluster_name.as_deref(), Some("test"));
    assert_eq!(core.cluster_authority().expect("authority").expose(), b"authority");
    assert_eq!(vault.ask(&vault.root, Operation::Read, "secret/none", json!({})).await.0, 404);

    core.seal();
    assert!(core.is_sealed() && core.cluster_authority().is_none());
    let outcome = vault.outcome(&vault.root, Operation::Read, "secret/none", json!({})).await;
    assert!(matches!(outcome, Outcome::Failed(CoreError::Sealed)));
    assert_eq!(CoreError::Sealed.to_string(), "Vault is sealed");
}

#[tokio::test]
async fn wrong_shares_start_the_count_again() {
    let (vault, answer) = sealed(3, 2).await;
    let (_, foreign) = sealed(3, 2).await;
    let (core, backend) = (&vault.core, &vault.backend);
    core.unseal(backend, answer.keys[0].clone()).await.expect("taken");
    let error = core.unseal(backend, foreign.keys[1].clone()).await.expect_err("refused");
    assert!(error.to_string().starts_with("failed to unseal: "), "{error}");
    assert_eq!(core.seal_status().progress, 0);
    let error = core.unseal(backend, SecretBytes::new(vec![1; 16])).await.expect_err("refused");
    assert_eq!(error.to_string(), "key is 16 bytes long, a share of this vault has 33");
    core.unseal(backend, answer.keys[0].clone()).await.expect("taken");
    assert_eq!(core.reset_unseal().progress, 0);
    core.unseal(backend, answer.keys[0].clone()).await.expect("taken");
    assert!(!core.unseal(backend, answer.keys[1].clone()).await.expect("unsealed").sealed);
}

#[tokio::test]
async fn nothing_can_be_unsealed_before_init() {
    let core = core_with(Arc::new(ShamirSeal), clock());
    let backend = InmemBackend::new();
    assert!(!core.load(&backend).await.expect("loaded"));
    let status = core.seal_status();
    assert!(!status.initialized && status.sealed && status.threshold == 0 && status.shares == 0);
    let error = core.unseal(&backend, SecretBytes::new(vec![1; 32])).await.expect_err("refused");
    assert_eq!(error, CoreError::NotInitialized);
}

#[tokio::test]
async fn init_happens_once_and_its_answer_is_repeated_for_the_nonce_alone() {
    let nonce = |text: &str| Some(SecretString::from(text));
    let with = |nonce| InitParams { nonce, ..init_params(1, 1) };
    let backend = InmemBackend::new();
    let core = core_with(Arc::new(ShamirSeal), clock());
    let init = |params| core.initialise(&backend, lock_name(), "node", params);
    let error = init(with(nonce("short"))).await.expect_err("refused");
    assert_eq!(error.to_string(), "nonce must be at least 32 characters long");
    let first = init(with(nonce("0123456789abcdef0123456789abcdef"))).await.expect("initialised");
    assert_eq!(init(with(nonce("0123456789abcdef0123456789abcdef"))).await.expect("repeated"), first);
    for other in [None, nonce("another nonce of thirty-two chars")] {
        assert_eq!(init(with(other)).await, Err(CoreError::AlreadyInitialized));
    }
    assert_eq!(CoreError::AlreadyInitialized.to_string(), "Vault is already initialized");
    let head = backend.check().await.expect("checked").expect("head");
    assert_eq!((head.epoch, head.seq, &*head.node, (*head.lock).clone()), (1, 1, "node", lock_name()));
    // An init without a nonce stores no answer.
    let backend = InmemBackend::new();
    core.initialise(&backend, lock_name(), "node", init_params(1, 1)).await.expect("initialised");
    let repeated =
        core.initialise(&backend, lock_name(), "node", with(nonce("0123456789abcdef0123456789abcdef"))).await;
    assert_eq!(repeated, Err(CoreError::AlreadyInitialized));
}

#[tokio::test]
async fn impossible_shares_are_refused_with_their_reason() {
    let shamir = core_with(Arc::new(ShamirSeal), clock());
    let automatic = core_with(fixed("1", 1), clock());
    let params = |secret: (u8, u8), recovery: (u8, u8)| InitParams {
        recovery_shares: recovery.0,
        recovery_threshold: recovery.1,
        ..init_params(secret.0, secret.1)
    };
    let cases = [
        (&shamir, params((0, 0), (0, 0)), "invalid seal configuration: secret_shares must be at least 1"),
        (&shamir, params((3, 0), (0, 0)), "invalid seal configuration: secret_threshold must be at least 1"),
        (
            &shamir,
            params((3, 1), (0, 0)),
            "invalid seal configuration: secret_threshold must be greater than 1 if secret_shares is greater than 1",
        ),
        (
            &shamir,
            params((3, 4), (0, 0)),
            "invalid seal configuration: secret_threshold cannot be larger than secret_shares",
        ),
        (
            &shamir,
            params((3, 2), (1, 1)),
            "parameters recovery_shares,recovery_threshold not applicable to seal type shamir",
        ),
        (
            &automatic,
            params((1, 1), (0, 0)),
            "parameters secret_shares,secret_threshold not applicable to seal type static",
        ),
        (
            &automatic,
            params((0, 0), (2, 3)),
            "invalid seal configuration: recovery_threshold cannot be larger than recovery_shares",
        ),
    ];
    for (core, params, text) in cases {
        let backend = InmemBackend::new();
        let error = core.initialise(&backend, lock_name(), "node", params).await.expect_err(text);
        assert_eq!(error.to_string(), text);
        assert!(backend.check().await.expect("checked").is_none(), "nothing may be stored");
    }
}

#[tokio::test]
async fn a_static_key_unseals_by_itself_and_gives_recovery_keys() {
    let backend = InmemBackend::new();
    let core = core_with(fixed("1", 1), clock());
    assert!(!core.auto_unseal(&backend).await.expect("asked"));
    let params = InitParams { recovery_shares: 3, recovery_threshold: 2, ..init_params(0, 0) };
    let answer = core.initialise(&backend, lock_name(), "node", params).await.expect("initialised");
    assert!(answer.keys.is_empty() && answer.recovery_keys.len() == 3);
    let body = answer.body();
    assert_eq!(body["keys"], json!([]));
    assert_eq!(body["recovery_keys"].as_array().map(Vec::len), Some(3));
    assert!(core.is_sealed());
    assert!(core.auto_unseal(&backend).await.expect("unsealed"));
    assert!(!core.is_sealed() && core.seal_status().recovery_seal);

    let other = core_with(fixed("2", 2), clock());
    let error = other.auto_unseal(&backend).await.expect_err("refused");
    assert_eq!(
        error.to_string(),
        "the stored keys are wrapped by key \"1\", which is not configured (configured: 2)"
    );
    let error = core_with(Arc::new(ShamirSeal), clock()).load(&backend).await.expect_err("refused");
    let expected =
        "the vault was initialised with seal type \"static\", but this node is configured for \"shamir\"";
    assert_eq!(error.to_string(), expected);
    other.seal();
    let error = core.unseal(&backend, answer.recovery_keys[0].clone()).await;
    assert!(error.is_ok(), "an unsealed node answers with its status");
    core.seal();
    let error = core.unseal(&backend, answer.recovery_keys[0].clone()).await.expect_err("refused");
    assert_eq!(error.to_string(), "this seal opens by itself; its recovery keys cannot unseal");
}

#[tokio::test]
async fn no_secret_and_no_token_is_stored_in_the_clear() {
    let vault = Vault::unsealed().await;
    let secret = json!({"password": "correct horse"});
    assert_eq!(vault.ask(&vault.root, Operation::Update, "secret/a", secret).await.0, 204);
    let child = vault.token(&vault.root, json!({"policies": ["default"], "ttl": 60})).await;
    let needles = ["correct horse", vault.root.expose(), child.expose()];
    let keys = vault.keys("").await;
    assert!(keys.len() > 10);
    for key in keys {
        let value = vault.backend.get(&key).await.expect("read").value.expect("value");
        let text = String::from_utf8_lossy(&value).into_owned();
        for needle in needles {
            assert!(!text.contains(needle) && !key.contains(needle), "{key}");
        }
    }
}

#[tokio::test]
async fn a_standby_follows_a_rotation_of_the_keyring() {
    let (vault, answer) = sealed(1, 1).await;
    let standby = core_with(Arc::new(ShamirSeal), Arc::clone(&vault.clock));
    for core in [&vault.core, &standby] {
        core.unseal(&vault.backend, answer.keys[0].clone()).await.expect("unsealed");
    }
    for (path, rotate) in [("secret/old", true), ("secret/new", false)] {
        assert_eq!(vault.ask(&vault.root, Operation::Update, path, json!({"v": 1})).await.0, 204);
        if rotate {
            assert_eq!(vault.ask(&vault.root, Operation::Update, "sys/rotate", json!({})).await.0, 204);
        }
    }
    let ledger = TestLedger::new(vault.backend.clone(), Arc::clone(&vault.clock));
    ledger.set_writable(false);
    let follower = Vault { core: standby, ledger, ..vault };
    for path in ["secret/new", "secret/old"] {
        let (status, body) = follower.ask(&follower.root, Operation::Read, path, json!({})).await;
        assert_eq!((status, &body["data"]), (200, &json!({"v": 1})), "{path}");
    }
    let probe: Arc<dyn Ledger> = Arc::clone(&follower.ledger) as _;
    follower.core.probe(probe).await.expect("able to serve");
}
