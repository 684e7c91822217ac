//! `sys/init`, `sys/seal-status` and `sys/unseal`.

use serde::{Deserialize, Serialize};

use super::secret_text;
use crate::base::secret::SecretString;

/// The answer of GET `sys/init`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitStatus {
    /// Whether the vault is initialised.
    pub initialized: bool,
}

/// The body of PUT `sys/init`; zero or empty members are as good as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InitRequest {
    /// Into how many shares the key is split (seal `shamir`).
    pub secret_shares: u32,
    /// How many of them unseal.
    pub secret_threshold: u32,
    /// Into how many shares the recovery key is split (seals that unseal by themselves).
    pub recovery_shares: u32,
    /// How many of them are needed.
    pub recovery_threshold: u32,
    /// PGP keys to encrypt the shares with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgp_keys: Option<Vec<String>>,
    /// PGP key to encrypt the root token with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_token_pgp_key: Option<String>,
    /// PGP keys to encrypt the recovery shares with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_pgp_keys: Option<Vec<String>>,
    /// Accepted and ignored, as Vault does.
    pub stored_shares: u32,
    /// A secret of the caller, at least 32 characters: with the same nonce a repeated init gets the same answer.
    #[serde(with = "secret_text::option", skip_serializing_if = "Option::is_none")]
    pub nonce: Option<SecretString>,
}

/// The answer of PUT `sys/init`: the only time that these are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InitResponse {
    /// The shares, in hexadecimal.
    #[serde(default, with = "secret_text::list")]
    pub keys: Vec<SecretString>,
    /// The shares, in base64.
    #[serde(default, with = "secret_text::list")]
    pub keys_base64: Vec<SecretString>,
    /// The recovery shares, in hexadecimal.
    #[serde(default, with = "secret_text::list", skip_serializing_if = "Vec::is_empty")]
    pub recovery_keys: Vec<SecretString>,
    /// The recovery shares, in base64.
    #[serde(default, with = "secret_text::list", skip_serializing_if = "Vec::is_empty")]
    pub recovery_keys_base64: Vec<SecretString>,
    /// The first token, which may do everything.
    #[serde(with = "secret_text")]
    pub root_token: SecretString,
}

/// The keys as the command `operator init -format=json` prints them: with the names that scripts know from Vault's
/// command, which are not those of the API.
#[derive(Debug, Serialize)]
pub struct InitKeys {
    /// The shares, in base64.
    #[serde(with = "secret_text::list")]
    pub unseal_keys_b64: Vec<SecretString>,
    /// The shares, in hexadecimal.
    #[serde(with = "secret_text::list")]
    pub unseal_keys_hex: Vec<SecretString>,
    /// Into how many shares the key was split; 0 with a seal that unseals by itself.
    pub unseal_shares: u32,
    /// How many of them unseal.
    pub unseal_threshold: u32,
    /// The recovery shares, in base64.
    #[serde(with = "secret_text::list")]
    pub recovery_keys_b64: Vec<SecretString>,
    /// The recovery shares, in hexadecimal.
    #[serde(with = "secret_text::list")]
    pub recovery_keys_hex: Vec<SecretString>,
    /// Into how many shares the recovery key was split; 0 with the seal `shamir`.
    pub recovery_keys_shares: u32,
    /// How many of them are needed.
    pub recovery_keys_threshold: u32,
    /// The first token.
    #[serde(with = "secret_text")]
    pub root_token: SecretString,
}

impl InitKeys {
    /// What `response` answered to `request`.
    pub fn new(request: &InitRequest, response: InitResponse) -> Self {
        Self {
            unseal_keys_b64: response.keys_base64,
            unseal_keys_hex: response.keys,
            unseal_shares: request.secret_shares,
            unseal_threshold: request.secret_threshold,
            recovery_keys_b64: response.recovery_keys_base64,
            recovery_keys_hex: response.recovery_keys,
            recovery_keys_shares: request.recovery_shares,
            recovery_keys_threshold: request.recovery_threshold,
            root_token: response.root_token,
        }
    }
}

/// The answer of `sys/seal-status` and `sys/unseal`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SealStatus {
    /// The seal: `shamir`, `static`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether the vault is initialised.
    pub initialized: bool,
    /// Whether this node is sealed; true while it is not initialised.
    pub sealed: bool,
    /// How many shares are needed; zero while it is not initialised.
    #[serde(rename = "t")]
    pub threshold: u32,
    /// How many shares there are; zero while it is not initialised.
    #[serde(rename = "n")]
    pub shares: u32,
    /// How many shares were entered.
    pub progress: u32,
    /// Names the attempt while shares are missing; else empty.
    pub nonce: String,
    /// See [`super::VERSION`].
    pub version: String,
    /// When the program was built; may be empty.
    pub build_date: String,
    /// Always false.
    pub migration: bool,
    /// The cluster's name; absent while sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// The cluster's UUID; absent while sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Whether the shares are recovery shares.
    pub recovery_seal: bool,
    /// The type of the storage.
    pub storage_type: String,
    /// What the caller should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The body of `sys/unseal`: a share, or `reset`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnsealRequest {
    /// A share, in hexadecimal or base64.
    #[serde(with = "secret_text::option", skip_serializing_if = "Option::is_none")]
    pub key: Option<SecretString>,
    /// Forget the shares entered so far.
    pub reset: bool,
    /// Accepted and ignored: there is no other seal to migrate to.
    pub migrate: bool,
}
