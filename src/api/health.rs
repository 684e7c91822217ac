//! `sys/health`.

use serde::{Deserialize, Serialize};

/// The version that the server reports: a Vault version that clients may gate on, and ours behind the plus sign.
pub const VERSION: &str = concat!("1.16.3+holdfast.", env!("CARGO_PKG_VERSION"));

/// The answer of `sys/health`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Whether the vault is initialised.
    pub initialized: bool,
    /// Whether this node is sealed.
    pub sealed: bool,
    /// Whether this node is not the active one.
    pub standby: bool,
    /// Always false: every standby serves reads.
    pub performance_standby: bool,
    /// Always `disabled`.
    pub replication_performance_mode: String,
    /// Always `disabled`.
    pub replication_dr_mode: String,
    /// Seconds since 1970, by this node's clock.
    pub server_time_utc: u64,
    /// See [`VERSION`].
    pub version: String,
    /// Always false.
    pub enterprise: bool,
    /// How far this node's wall clock is ahead of the cluster's (negative: behind), in milliseconds. Vault compares with the
    /// active node alone; here the median of the nodes counts, so that an active node can be the one that is off.
    pub clock_skew_ms: i64,
    /// The cluster's name; absent while sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<String>,
    /// The cluster's UUID; absent while sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}

impl Health {
    /// The largest skew of a wall clock that is still followed, in milliseconds; a node that is further off does not become
    /// active.
    pub const MOST_CLOCK_SKEW_MS: u64 = 30_000;

    /// Whether this node's wall clock is too far off for it to become active.
    pub fn is_clock_off(&self) -> bool {
        self.clock_skew_ms.unsigned_abs() > Self::MOST_CLOCK_SKEW_MS
    }
}

/// Status codes of `sys/health` unless its query names others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCodes {
    /// Active.
    pub active: u16,
    /// Unsealed standby.
    pub standby: u16,
    /// Standby that cannot reach the active node.
    pub unhealthy: u16,
    /// Not initialised.
    pub uninitialized: u16,
    /// Sealed.
    pub sealed: u16,
}

impl Default for HealthCodes {
    fn default() -> Self {
        Self { active: 200, standby: 429, unhealthy: 474, uninitialized: 501, sealed: 503 }
    }
}
