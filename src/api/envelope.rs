//! The envelope of logical answers, and the body of errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::secret_text;
use crate::base::secret::SecretString;

/// A logical answer: all members are always present, unused ones empty or `null`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Envelope {
    /// UUID of the request.
    pub request_id: String,
    /// Lease of the secret; empty without one.
    pub lease_id: String,
    /// Whether the lease can be renewed.
    pub renewable: bool,
    /// Seconds that the lease lasts; zero without one.
    pub lease_duration: u64,
    /// The answer itself.
    pub data: Option<Value>,
    /// The wrapping token, if the answer is wrapped; then everything else is empty.
    pub wrap_info: Option<WrapInfo>,
    /// What the caller should know.
    pub warnings: Option<Vec<String>>,
    /// The token of a login.
    pub auth: Option<Auth>,
}

/// What a login or the creation of a token gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Auth {
    /// The token.
    #[serde(with = "secret_text")]
    pub client_token: SecretString,
    /// The token's accessor.
    #[serde(default)]
    pub accessor: String,
    /// All policies.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Policies of the token itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_policies: Vec<String>,
    /// Policies of its identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity_policies: Vec<String>,
    /// What the auth method knows of the caller.
    #[serde(default)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds until the token expires; zero: never.
    #[serde(default)]
    pub lease_duration: u64,
    /// Whether it can be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// Its entity; may be empty.
    #[serde(default)]
    pub entity_id: String,
    /// `service` or `batch`.
    #[serde(default)]
    pub token_type: String,
    /// Whether it has no parent.
    #[serde(default)]
    pub orphan: bool,
    /// Always `null`: there is no second factor.
    #[serde(default)]
    pub mfa_requirement: Option<Value>,
    /// How often it may be used; zero: without limit.
    #[serde(default)]
    pub num_uses: u64,
}

/// A wrapping token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrapInfo {
    /// The token that unwraps the answer once.
    #[serde(with = "secret_text")]
    pub token: SecretString,
    /// Its accessor.
    #[serde(default)]
    pub accessor: String,
    /// Seconds until it expires.
    pub ttl: u64,
    /// When it was made, RFC 3339.
    pub creation_time: String,
    /// The path whose answer is wrapped.
    pub creation_path: String,
    /// Accessor of the wrapped token, if a login is wrapped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wrapped_accessor: String,
}

/// The body of an answer that is no success.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Errors {
    /// What is wrong; may be empty.
    pub errors: Vec<String>,
    /// Data that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Errors {
    /// One message.
    pub fn one(message: impl Into<String>) -> Self {
        Self { errors: vec![message.into()], data: None }
    }
}
