//! `sys/internal/ui/mounts/:path`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The mount that a path belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountInfo {
    /// Where it is mounted, with a slash at the end.
    pub path: String,
    /// The type of its engine.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is for.
    pub description: String,
    /// Its options; `version` for `kv`.
    pub options: Option<BTreeMap<String, String>>,
}

impl MountInfo {
    /// Whether it is a versioned key-value engine.
    pub fn is_kv_version_2(&self) -> bool {
        self.kind == "kv" && self.options.as_ref().and_then(|o| o.get("version")).is_some_and(|v| v == "2")
    }
}
