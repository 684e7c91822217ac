//! A response as an engine gives it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    /// Stored, renewable, revocable.
    #[default]
    Service,
    /// Self-contained and encrypted; not stored.
    Batch,
}

/// A successful login or token creation: the kernel makes the token and fills the `auth` block.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// Policies of the new token.
    pub policies: Vec<String>,
    /// Metadata of the token.
    pub metadata: BTreeMap<String, String>,
    /// Display name.
    pub display_name: String,
    /// TTL in seconds; zero takes the mount's default.
    pub ttl_seconds: u64,
    /// Most TTL in seconds; zero takes the mount's maximum.
    pub max_ttl_seconds: u64,
    /// Explicit maximum TTL in seconds; zero for none.
    pub explicit_max_ttl_seconds: u64,
    /// Period in seconds; zero for none.
    pub period_seconds: u64,
    /// Uses; zero for unlimited.
    pub num_uses: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Its kind.
    pub token_type: TokenType,
    /// Whether it has no parent.
    pub orphan: bool,
}

/// A body that is not the usual envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBody {
    /// Content type.
    pub content_type: &'static str,
    /// HTTP status.
    pub status: u16,
    /// The bytes.
    pub body: Vec<u8>,
}

/// A response. An engine that has nothing to say returns `None` instead (204 for writes, 404 for reads).
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The `data` member.
    pub data: Option<Map<String, Value>>,
    /// The complete `auth` member, where the engine (the token store) made the token itself.
    pub auth: Option<Value>,
    /// A login: the kernel makes the token.
    pub login: Option<Login>,
    /// The `lease_duration` member, in seconds.
    pub lease_duration_seconds: u64,
    /// The `renewable` member.
    pub renewable: bool,
    /// The `lease_id` member.
    pub lease_id: String,
    /// Warnings for the caller.
    pub warnings: Vec<String>,
    /// An HTTP status other than the usual, with the envelope kept (KV v2's 404 with data; 202).
    pub status: Option<u16>,
    /// A body that replaces the envelope.
    pub raw: Option<RawBody>,
    /// Whether `data` is repeated at top level beside the envelope, as old clients read it (sys/mounts and others).
    pub data_at_top: bool,
}

impl Response {
    /// A response that carries `data`.
    pub fn data(data: Map<String, Value>) -> Self {
        Self { data: Some(data), ..Self::default() }
    }

    /// A list response: `keys`, or nothing (404) if there are none.
    pub fn keys(keys: Vec<String>) -> Option<Self> {
        if keys.is_empty() {
            return None;
        }
        let mut data = Map::new();
        data.insert("keys".to_owned(), Value::from(keys));
        Some(Self::data(data))
    }

    /// Adds a warning.
    #[must_use]
    pub fn with_warning(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}
