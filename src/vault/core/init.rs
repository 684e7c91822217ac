//! Init: the one commit that creates a vault.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::CoreError;
use super::mounts::{MountClass, MountEntry, MountTable, new_entry};
use super::open::{ClusterRecord, Open};
use super::parts::Core;
use super::policy::{self, DEFAULT_POLICY};
use super::quorum::recovery_verifier;
use super::records;
use super::status::SealConfig;
use super::token::{Maker, NewToken};
use crate::base::id;
use crate::base::secret::{SecretBytes, SecretString};
use crate::crypto::aead::{AeadKey, KEY_BYTES, random_key};
use crate::crypto::kdf;
use crate::vault::barrier::{Barrier, KEYRING_PATH, Keyring, ROOT_KEY_PATH, Stored};
use crate::vault::physical::head::FORMAT;
use crate::vault::physical::{Backend, BatchId, Commit, Head, LockName, Op, StorageError};
use crate::vault::seal::{Wrapped, split_new_key, wrap_by_key};

/// Shortest nonce of an initialiser, in characters: it is a key.
const MIN_NONCE_CHARS: usize = 32;
/// How often a commit with an unknown outcome is sent again.
const COMMIT_ATTEMPTS: u32 = 5;

/// A mount that init makes besides the usual ones.
#[derive(Debug, Clone)]
pub struct FirstMount {
    /// Its table.
    pub class: MountClass,
    /// Its path with a trailing slash.
    pub path: String,
    /// The engine's kind.
    pub kind: String,
    /// Options.
    pub options: BTreeMap<String, String>,
}

/// What init is asked for.
#[derive(Debug, Clone)]
pub struct InitParams {
    /// Shamir: number of shares; zero where not given.
    pub secret_shares: u8,
    /// Shamir: shares needed; zero where not given.
    pub secret_threshold: u8,
    /// Automatic seals: number of recovery shares; zero for none.
    pub recovery_shares: u8,
    /// Automatic seals: recovery shares needed.
    pub recovery_threshold: u8,
    /// A secret of the initialiser, at least 32 characters: with the same nonce a repeated init gives the same answer, so
    /// that an initialiser that dies in between loses no key.
    pub nonce: Option<SecretString>,
    /// The authority of node certificates; opaque here.
    pub cluster_authority: SecretBytes,
    /// The root token, chosen by a development server.
    pub root_token: Option<SecretString>,
    /// More mounts.
    pub mounts: Vec<FirstMount>,
}

/// What init gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitAnswer {
    /// Unseal key shares; empty for automatic seals.
    pub keys: Vec<SecretBytes>,
    /// Recovery key shares; empty for Shamir.
    pub recovery_keys: Vec<SecretBytes>,
    /// The first root token.
    pub root_token: SecretString,
}

#[derive(Serialize, Deserialize)]
struct StoredAnswer {
    keys: Vec<Stored>,
    recovery_keys: Vec<Stored>,
    root_token: Stored,
}

impl InitAnswer {
    /// The body of `sys/init`'s answer.
    pub fn body(&self) -> Value {
        let hex = |keys: &[SecretBytes]| keys.iter().map(|key| id::hex(key.expose())).collect::<Vec<_>>();
        let base64 = |keys: &[SecretBytes]| {
            let engine = base64::engine::general_purpose::STANDARD;
            keys.iter().map(|key| engine.encode(key.expose())).collect::<Vec<_>>()
        };
        let mut body = json!({
            "keys": hex(&self.keys),
            "keys_base64": base64(&self.keys),
            "root_token": self.root_token.expose(),
        });
        if !self.recovery_keys.is_empty() {
            body["recovery_keys"] = json!(hex(&self.recovery_keys));
            body["recovery_keys_base64"] = json!(base64(&self.recovery_keys));
        }
        body
    }

    fn encode(&self) -> Result<SecretBytes, serde_json::Error> {
        let stored = |keys: &[SecretBytes]| keys.iter().cloned().map(Stored).collect();
        let stored = StoredAnswer {
            keys: stored(&self.keys),
            recovery_keys: stored(&self.recovery_keys),
            root_token: Stored(SecretBytes::new(self.root_token.expose().as_bytes().to_vec())),
        };
        serde_json::to_vec(&stored).map(SecretBytes::new)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: StoredAnswer = serde_json::from_slice(bytes).ok()?;
        let keys = |keys: Vec<Stored>| keys.into_iter().map(|Stored(key)| key).collect();
        let token = String::from_utf8(stored.root_token.0.expose().to_vec()).ok()?;
        Some(Self {
            keys: keys(stored.keys),
            recovery_keys: keys(stored.recovery_keys),
            root_token: SecretString::new(token),
        })
    }
}

/// The root key under its seal, and the shares for people.
struct Sealed {
    config: SealConfig,
    wrapped: Wrapped,
    keys: Vec<SecretBytes>,
    recovery_keys: Vec<SecretBytes>,
    /// What checks the recovery key.
    verifier: Option<SecretBytes>,
}

/// What is to be stored, and the answer.
struct Plan {
    cluster: String,
    ops: Vec<Op>,
    answer: InitAnswer,
}

impl Core {
    /// Creates the vault: one commit that makes the head, the keyring, the seal's configuration, the mount table, the default
    /// policy and the root token. `node` is this node's identity.
    ///
    /// # Errors
    /// [`CoreError::AlreadyInitialized`], unless the nonce is that of the first init; [`CoreError::Invalid`] for impossible
    /// numbers; [`CoreError::Unknown`] if the storage did not say whether it stored it: repeat with the same nonce.
    pub async fn initialise(
        &self,
        backend: &dyn Backend,
        lock: LockName,
        node: &str,
        params: InitParams,
    ) -> Result<InitAnswer, CoreError> {
        let nonce = params.nonce.clone();
        if nonce.as_ref().is_some_and(|nonce| nonce.expose().chars().count() < MIN_NONCE_CHARS) {
            return Err(CoreError::Invalid(format!(
                "nonce must be at least {MIN_NONCE_CHARS} characters long"
            )));
        }
        if backend.check().await?.is_some() {
            return repeated_answer(backend, nonce.as_ref()).await;
        }
        let plan = self.plan(params).await?;
        let random = self.parts().random.as_ref();
        let head = Head {
            cluster: plan.cluster.into(),
            lock: Arc::new(lock),
            epoch: 1,
            seq: 1,
            batch_id: BatchId::new(random),
            node: node.into(),
            format: FORMAT,
            time: self.parts().clock.unix(),
        };
        let mut reason = String::new();
        for _ in 0..COMMIT_ATTEMPTS {
            match backend.commit(None, &head, &plan.ops).await {
                Commit::Committed => return Ok(plan.answer),
                // A commit whose answer was lost.
                Commit::Fenced { current: Some(current) } if current.batch_id == head.batch_id => {
                    return Ok(plan.answer);
                }
                Commit::Fenced { .. } => return repeated_answer(backend, nonce.as_ref()).await,
                Commit::Refused(error) => return Err(error.into()),
                Commit::Unknown { reason: why } => reason = why,
            }
        }
        Err(CoreError::Unknown(reason))
    }

    async fn plan(&self, params: InitParams) -> Result<Plan, CoreError> {
        let parts = self.parts();
        let random = parts.random.as_ref();
        let now = parts.clock.unix();
        let cluster = id::uuid(random);
        let root = random_key(random);
        let sealed = self.seal_root_key(&cluster, &root, &params).await?;
        let ring = Keyring::generate(random, now).map_err(|error| CoreError::Internal(error.to_string()))?;
        let barrier = Arc::new(Barrier::new(cluster.clone(), Arc::clone(&parts.random), root, ring));
        let record = ClusterRecord {
            id: cluster.clone(),
            name: if parts.cluster_name.is_empty() {
                format!("vault-cluster-{}", &id::uuid(random)[..8])
            } else {
                parts.cluster_name.clone()
            },
            token_salt: Stored(random_key(random)),
            authority: Stored(params.cluster_authority.clone()),
        };
        let mounts = first_mounts(random, &params.mounts);
        let open = Open::new(Arc::clone(&barrier), record.clone());
        let spec = NewToken {
            id: params.root_token.clone(),
            policies: vec!["root".to_owned()],
            display_name: "root".to_owned(),
            ..NewToken::default()
        };
        let maker = Maker { open: &open, random, now };
        let token_mount = mounts
            .get(MountClass::Auth, "token/")
            .ok_or_else(|| CoreError::Internal("the first mount table lacks auth/token/".to_owned()))?;
        let (issued, token_records) = maker
            .make(spec, token_mount, "auth/token/root")
            .map_err(|error| CoreError::Invalid(error.to_string()))?;
        let answer =
            InitAnswer { keys: sealed.keys, recovery_keys: sealed.recovery_keys, root_token: issued.token };

        let mut ops = Vec::new();
        let mut plain = |key: &str, value: Bytes| ops.push(Op::Put { key: key.to_owned(), value });
        plain(records::SEAL_CONFIG, json_bytes(&sealed.config)?);
        plain(records::SEAL_KEYS, json_bytes(&sealed.wrapped)?);
        let keys = barrier.key_records()?;
        plain(KEYRING_PATH, keys.keyring);
        plain(ROOT_KEY_PATH, keys.root_key);
        if let Some(nonce) = &params.nonce {
            plain(records::INIT_ANSWER, seal_answer(random, nonce, &cluster, &answer)?);
        }
        let mut secret = |key: &str, value: &[u8]| -> Result<(), CoreError> {
            let value = barrier.encrypt(key, value)?;
            ops.push(Op::Put { key: key.to_owned(), value });
            Ok(())
        };
        secret(records::CLUSTER, &json_bytes(&record)?)?;
        secret(records::MOUNTS, &json_bytes(&mounts)?)?;
        secret(&policy::path_of("default"), DEFAULT_POLICY.as_bytes())?;
        if let Some(verifier) = &sealed.verifier {
            secret(records::RECOVERY_KEY, verifier.expose())?;
        }
        for (key, value) in &token_records {
            secret(key, value.expose())?;
        }
        Ok(Plan { cluster, ops, answer })
    }

    async fn seal_root_key(
        &self,
        cluster: &str,
        root: &SecretBytes,
        params: &InitParams,
    ) -> Result<Sealed, CoreError> {
        let seal = &self.parts().seal;
        let random = self.parts().random.as_ref();
        let kind = seal.kind().to_owned();
        let not_applicable = |which: &str| {
            CoreError::Invalid(format!(
                "parameters {which}_shares,{which}_threshold not applicable to seal type {kind}"
            ))
        };
        if let Some(automatic) = seal.automatic() {
            if params.secret_shares > 0 || params.secret_threshold > 0 {
                return Err(not_applicable("secret"));
            }
            let (shares, threshold) = (params.recovery_shares, params.recovery_threshold);
            let (mut recovery_keys, mut verifier) = (Vec::new(), None);
            if shares > 0 || threshold > 0 {
                check_shares("recovery", shares, threshold)?;
                let (key, parts) = split_new_key(random, shares, threshold)?;
                (recovery_keys, verifier) = (parts, Some(recovery_verifier(cluster, &key)));
            }
            let wrapped = automatic.wrap(random, cluster, root).await?;
            let config = SealConfig { kind, shares, threshold };
            return Ok(Sealed { config, wrapped, keys: Vec::new(), recovery_keys, verifier });
        }
        if params.recovery_shares > 0 || params.recovery_threshold > 0 {
            return Err(not_applicable("recovery"));
        }
        let (shares, threshold) = (params.secret_shares, params.secret_threshold);
        check_shares("secret", shares, threshold)?;
        let (key, keys) = split_new_key(random, shares, threshold)?;
        let wrapped = wrap_by_key(random, cluster, &key, root)?;
        let config = SealConfig { kind, shares, threshold };
        Ok(Sealed { config, wrapped, keys, recovery_keys: Vec::new(), verifier: None })
    }
}

/// Whether a key can be split so.
///
/// # Errors
/// [`CoreError::Invalid`] with Vault's words.
pub(super) fn check_shares(which: &str, shares: u8, threshold: u8) -> Result<(), CoreError> {
    let problem = if shares == 0 {
        format!("{which}_shares must be at least 1")
    } else if threshold == 0 {
        format!("{which}_threshold must be at least 1")
    } else if shares > 1 && threshold == 1 {
        format!("{which}_threshold must be greater than 1 if {which}_shares is greater than 1")
    } else if threshold > shares {
        format!("{which}_threshold cannot be larger than {which}_shares")
    } else {
        return Ok(());
    };
    Err(CoreError::Invalid(format!("invalid seal configuration: {problem}")))
}

fn json_bytes<T: Serialize>(value: &T) -> Result<Bytes, CoreError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| CoreError::Internal(error.to_string()))
}

fn first_mounts(random: &dyn crate::base::random::Random, more: &[FirstMount]) -> MountTable {
    let usual = [
        (MountClass::Secret, "cubbyhole/", "cubbyhole", "per-token private secret storage"),
        (MountClass::Secret, "identity/", "identity", "identity store"),
        (MountClass::Secret, "sys/", "system", "system endpoints used for control, policy and debugging"),
        (MountClass::Auth, "token/", "token", "token based credentials"),
    ];
    let mut entries: Vec<MountEntry> = Vec::new();
    for (class, path, kind, description) in usual {
        let entry = new_entry(random, class, path, kind, BTreeMap::new());
        entries.push(MountEntry { description: description.to_owned(), ..entry });
    }
    for mount in more {
        entries.push(new_entry(random, mount.class, &mount.path, &mount.kind, mount.options.clone()));
    }
    MountTable { entries }
}

fn answer_key(nonce: &SecretString, cluster: &str) -> Result<AeadKey, CoreError> {
    let key =
        kdf::hkdf_sha256(cluster.as_bytes(), nonce.expose().as_bytes(), b"holdfast init answer", KEY_BYTES);
    AeadKey::new(key.expose()).map_err(|error| CoreError::Internal(error.to_string()))
}

fn seal_answer(
    random: &dyn crate::base::random::Random,
    nonce: &SecretString,
    cluster: &str,
    answer: &InitAnswer,
) -> Result<Bytes, CoreError> {
    let internal = |reason: String| CoreError::Internal(reason);
    let plain = answer.encode().map_err(|error| internal(error.to_string()))?;
    let mut out = Vec::new();
    answer_key(nonce, cluster)?
        .seal(random, records::INIT_ANSWER.as_bytes(), plain.expose(), &mut out)
        .map_err(|error| internal(error.to_string()))?;
    Ok(Bytes::from(out))
}

/// The stored answer, for the initialiser that knows its nonce.
async fn repeated_answer(
    backend: &dyn Backend,
    nonce: Option<&SecretString>,
) -> Result<InitAnswer, CoreError> {
    let Some(nonce) = nonce else { return Err(CoreError::AlreadyInitialized) };
    let stored = match backend.get(records::INIT_ANSWER).await {
        Ok(stored) => stored,
        Err(StorageError::Empty { .. }) => {
            return Err(CoreError::Unavailable("the storage changed meanwhile".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let Some(record) = stored.value else { return Err(CoreError::AlreadyInitialized) };
    let plain = answer_key(nonce, &stored.head.cluster)?
        .open(records::INIT_ANSWER.as_bytes(), &record)
        .map_err(|_| CoreError::AlreadyInitialized)?;
    InitAnswer::decode(plain.expose()).ok_or(CoreError::AlreadyInitialized)
}
