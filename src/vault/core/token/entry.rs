//! What is stored of a token. The token itself is not: only an HMAC of it, which is its key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::clock::UnixMillis;
use crate::base::secret::SecretString;
use crate::vault::logical::TokenType;

/// A stored token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEntry {
    /// Its key: a salted HMAC of the token.
    pub key: String,
    /// Its accessor.
    pub accessor: String,
    /// Key of its parent; `None` for orphans.
    pub parent: Option<String>,
    /// Number of ancestors.
    pub depth: u32,
    /// Names of its policies, sorted.
    pub policies: Vec<String>,
    /// Where it was made, such as `auth/token/create`.
    pub path: String,
    /// UUID of the auth mount that made it: it ends with the mount.
    pub mount_uuid: String,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Display name.
    pub display_name: String,
    /// When it was made.
    pub created: UnixMillis,
    /// TTL at creation in seconds; zero for none.
    pub creation_ttl_seconds: u64,
    /// When it ends; `None` for never.
    pub expires: Option<UnixMillis>,
    /// When it was renewed last.
    pub last_renewal: Option<UnixMillis>,
    /// Never renewed beyond this many seconds after creation; zero for none.
    pub explicit_max_ttl_seconds: u64,
    /// The maximum of its role or login in seconds; zero for the mount's.
    pub max_ttl_seconds: u64,
    /// Period in seconds; zero for none.
    pub period_seconds: u64,
    /// Uses left: zero for unlimited, -1 when the last use has begun.
    pub num_uses: i64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Its kind.
    pub token_type: TokenType,
    /// The identity entity; empty for none.
    pub entity_id: String,
    /// Names its private storage.
    pub cubbyhole_id: String,
    /// The token role that made it; empty for none.
    pub role: String,
    /// Networks that it may be used from; empty for all.
    pub bound_cidrs: Vec<String>,
}

impl TokenEntry {
    /// Whether the `root` policy applies.
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|policy| policy == "root")
    }

    /// Seconds left at `now`; zero for a token without end.
    pub fn ttl_seconds(&self, now: UnixMillis) -> u64 {
        self.expires.map_or(0, |end| end.0.saturating_sub(now.0).div_ceil(1000))
    }
}

/// What a new token shall be.
#[derive(Debug, Clone, Default)]
pub struct NewToken {
    /// The token itself, where the caller chooses it (needs sudo, which the engine checks).
    pub id: Option<SecretString>,
    /// Policies.
    pub policies: Vec<String>,
    /// Metadata.
    pub metadata: BTreeMap<String, String>,
    /// Display name.
    pub display_name: String,
    /// TTL in seconds; zero takes the mount's default (none for root tokens).
    pub ttl_seconds: u64,
    /// Most TTL in seconds; zero takes the mount's.
    pub max_ttl_seconds: u64,
    /// Explicit maximum in seconds; zero for none.
    pub explicit_max_ttl_seconds: u64,
    /// Period in seconds; zero for none.
    pub period_seconds: u64,
    /// Uses; zero for unlimited.
    pub num_uses: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Its kind.
    pub token_type: TokenType,
    /// Its parent; `None` for orphans.
    pub parent: Option<TokenEntry>,
    /// Where it is made; empty takes the request's path.
    pub path: String,
    /// The identity entity; empty for none.
    pub entity_id: String,
    /// The token role; empty for none.
    pub role: String,
    /// Networks that it may be used from.
    pub bound_cidrs: Vec<String>,
}

/// A token that was just made; the only moment at which the token itself is known.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    /// The token.
    pub token: SecretString,
    /// What is stored of it.
    pub entry: TokenEntry,
    /// TTL in seconds; zero for none.
    pub ttl_seconds: u64,
    /// Warnings for the caller.
    pub warnings: Vec<String>,
}

impl IssuedToken {
    /// The `auth` member of an answer.
    pub fn auth(&self) -> Value {
        auth_member(self.token.expose(), &self.entry, self.ttl_seconds)
    }
}

/// The `auth` member for a token; `client_token` is empty where it is not known.
pub(super) fn auth_member(client_token: &str, entry: &TokenEntry, ttl_seconds: u64) -> Value {
    json!({
        "client_token": client_token,
        "accessor": entry.accessor,
        "policies": entry.policies,
        "token_policies": entry.policies,
        "metadata": if entry.metadata.is_empty() { Value::Null } else { json!(entry.metadata) },
        "lease_duration": ttl_seconds,
        "renewable": entry.renewable,
        "entity_id": entry.entity_id,
        "token_type": match entry.token_type { TokenType::Service => "service", TokenType::Batch => "batch" },
        "orphan": entry.parent.is_none(),
        "mfa_requirement": Value::Null,
        "num_uses": entry.num_uses.max(0),
    })
}

impl TokenEntry {
    /// The `auth` member of an answer about this token, such as a renewal; `client_token` is the token as the caller sent
    /// it, empty where the caller only has the accessor.
    pub fn auth(&self, client_token: &SecretString, now: UnixMillis) -> Value {
        auth_member(client_token.expose(), self, self.ttl_seconds(now))
    }
}
