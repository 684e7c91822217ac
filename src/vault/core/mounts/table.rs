//! The mount table as it is stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::id;
use crate::base::random::Random;

/// Which table a mount is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountClass {
    /// Secrets engines, `sys/mounts`.
    Secret,
    /// Auth methods, `sys/auth`, routed below `auth/`.
    Auth,
}

/// Settings of a mount; what is zero or empty takes the system's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountConfig {
    /// Default lease TTL in seconds.
    pub default_lease_ttl_seconds: u64,
    /// Most lease TTL in seconds.
    pub max_lease_ttl_seconds: u64,
    /// Accepted and shown; nothing here is cached in a way that could be stale.
    pub force_no_cache: bool,
    /// `unauth`, `hidden` or empty.
    pub listing_visibility: String,
    /// Auth mounts: `default-service` or empty.
    pub token_type: String,
    /// Request fields that audit shows in the clear.
    pub audit_non_hmac_request_keys: Vec<String>,
    /// Response fields that audit shows in the clear.
    pub audit_non_hmac_response_keys: Vec<String>,
    /// Request headers that reach the engine.
    pub passthrough_request_headers: Vec<String>,
    /// Response headers that the engine may set.
    pub allowed_response_headers: Vec<String>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountEntry {
    /// Its table.
    pub class: MountClass,
    /// Its path with a trailing slash, without `auth/`.
    pub path: String,
    /// The engine's kind.
    pub kind: String,
    /// For people.
    pub description: String,
    /// `<kind>_<8 hex>`, `auth_<kind>_<8 hex>`.
    pub accessor: String,
    /// Names its storage.
    pub uuid: String,
    /// Options for the engine (`version` = `2`).
    pub options: BTreeMap<String, String>,
    /// Shown; every mount is local to its cluster.
    pub local: bool,
    /// Shown; the barrier encrypts every record alike.
    pub seal_wrap: bool,
    /// Settings.
    pub config: MountConfig,
}

impl MountEntry {
    /// The full path below `/v1/`, with a trailing slash.
    pub fn route(&self) -> String {
        match self.class {
            MountClass::Secret => self.path.clone(),
            MountClass::Auth => format!("auth/{}", self.path),
        }
    }

    /// Where its records lie.
    pub fn storage_prefix(&self) -> String {
        match self.class {
            MountClass::Secret => format!("logical/{}/", self.uuid),
            MountClass::Auth => format!("auth/{}/", self.uuid),
        }
    }
}

/// All mounts, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountTable {
    /// The mounts.
    pub entries: Vec<MountEntry>,
}

impl MountTable {
    /// The mount at exactly this path of its table.
    pub fn get(&self, class: MountClass, path: &str) -> Option<&MountEntry> {
        self.entries.iter().find(|entry| entry.class == class && entry.path == path)
    }

    /// Mounts of one table in the order of their paths.
    pub fn of(&self, class: MountClass) -> Vec<&MountEntry> {
        let mut found: Vec<_> = self.entries.iter().filter(|entry| entry.class == class).collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// The mount with this UUID.
    pub fn by_uuid(&self, uuid: &str) -> Option<&MountEntry> {
        self.entries.iter().find(|entry| entry.uuid == uuid)
    }
}

/// A new mount with a new UUID and accessor.
pub(in crate::vault::core) fn new_entry(
    random: &dyn Random,
    class: MountClass,
    path: &str,
    kind: &str,
    options: BTreeMap<String, String>,
) -> MountEntry {
    let mut suffix = [0; 4];
    random.fill(&mut suffix);
    let prefix = if class == MountClass::Auth { "auth_" } else { "" };
    MountEntry {
        class,
        path: path.to_owned(),
        kind: kind.to_owned(),
        description: String::new(),
        accessor: format!("{prefix}{kind}_{}", id::hex(&suffix)),
        uuid: id::uuid(random),
        options,
        local: false,
        seal_wrap: false,
        config: MountConfig::default(),
    }
}
