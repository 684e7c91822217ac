//! A request as an engine sees it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};

/// What is to be done at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// An update of something absent, where the engine can tell (existence check).
    Create,
    /// GET.
    Read,
    /// POST and PUT.
    Update,
    /// PATCH with a JSON merge patch.
    Patch,
    /// DELETE.
    Delete,
    /// LIST, or GET with `list=true`.
    List,
}

impl Operation {
    /// Vault's name of the operation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }

    /// Whether the operation may change something.
    pub fn may_write(self) -> bool {
        !matches!(self, Self::Read | Self::List)
    }
}

/// Who asks, after authentication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The token's accessor; empty for unauthenticated requests.
    pub accessor: String,
    /// The key under which the token's entry is stored (a salted HMAC, not the token).
    pub token_key: String,
    /// The token's display name.
    pub display_name: String,
    /// Names of the policies that apply.
    pub policies: Vec<String>,
    /// The identity entity, if any.
    pub entity_id: String,
    /// Whether the `root` policy applies.
    pub is_root: bool,
    /// Whether the caller has `sudo` on this path.
    pub has_sudo: bool,
    /// Name of the token's private storage (cubbyhole), where it has one.
    pub cubbyhole_id: String,
}

/// A request, routed and authorised, as an engine sees it.
#[derive(Debug, Clone)]
pub struct Request {
    /// UUID of the request, also in the answer and the log.
    pub id: String,
    /// What to do.
    pub operation: Operation,
    /// The path inside the mount, without a leading slash.
    pub path: String,
    /// The mount's path with a trailing slash, such as `secret/` or `auth/userpass/`.
    pub mount_path: String,
    /// The mount's accessor.
    pub mount_accessor: String,
    /// The mount's options (`version` = `2`).
    pub mount_options: BTreeMap<String, String>,
    /// Input: body fields, or query parameters for operations without a body.
    pub data: Map<String, Value>,
    /// Who asks.
    pub principal: Principal,
    /// The token as the client sent it, for engines that act on it (`auth/token/*-self`). Never logged.
    pub client_token: crate::base::secret::SecretString,
    /// Where the client's connection came from.
    pub remote: Option<IpAddr>,
    /// TTL asked for by `X-Vault-Wrap-TTL`, in seconds.
    pub wrap_ttl_seconds: Option<u64>,
}
