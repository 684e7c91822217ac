//! [`HaSettings`]: what one node needs to know to take part in leadership, and the spans that follow from it.

use std::time::Duration;

use crate::config::AcceptedRollback;

/// Settings of one node's part in leadership.
#[derive(Debug, Clone)]
pub struct HaSettings {
    /// Identity of this process: `<pod>_<pod uid>_<random per process start>`, or `<host>_<uuid>_<random>` elsewhere.
    pub identity: String,
    /// The API address that this node advertises, a URL.
    pub api_addr: String,
    /// The address that peers reach this node at, a URL; empty if nodes do not speak with each other
    /// (`disable_clustering`): then they elect by the lock alone, and a handover is for whoever takes the lock.
    pub cluster_addr: String,
    /// How long the lock is believed without a renewal, in seconds (3 to 120; renewed every third of it).
    pub lease_seconds: u32,
    /// How long a read needs no proof of leadership after the last one, in milliseconds (at most 500; 0 proves every
    /// read anew).
    pub read_lease_ms: u64,
    /// Run without a lock: no other node may use the storage (`ha_enabled = false`, `server -dev`).
    pub lock_disabled: bool,
    /// UUID of the cluster whose head may be claimed although it names another lock.
    pub adopt: Option<String>,
    /// The one rollback of the storage that a person has accepted.
    pub accept_rollback: Option<AcceptedRollback>,
    /// Version of this program, shown to peers.
    pub version: String,
}

impl HaSettings {
    /// Settings with Holdfast's defaults for a node of this identity and these addresses.
    pub fn new(identity: &str, api_addr: &str, cluster_addr: &str) -> Self {
        Self {
            identity: identity.to_owned(),
            api_addr: api_addr.to_owned(),
            cluster_addr: cluster_addr.to_owned(),
            lease_seconds: 6,
            read_lease_ms: 500,
            lock_disabled: false,
            adopt: None,
            accept_rollback: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// How long the lock is believed without a renewal.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(u64::from(self.lease_seconds.clamp(1, MOST_LEASE_SECONDS)))
    }

    /// Time between renewals.
    pub fn renew(&self) -> Duration {
        self.lease() / 3
    }

    /// How long a read needs no new proof of leadership.
    pub fn read_lease(&self) -> Duration {
        Duration::from_millis(self.read_lease_ms).min(super::readlease::WINDOW)
    }
}

/// The longest lease that is believed, whatever a lock says, in seconds.
pub const MOST_LEASE_SECONDS: u32 = 120;

/// The pod (or host) name in an identity: what comes before the first `_`.
pub fn pod_of(identity: &str) -> &str {
    identity.split('_').next().unwrap_or(identity)
}

/// The incarnation-free part of an identity: what comes before the last `_`.
pub fn pod_and_uid_of(identity: &str) -> &str {
    identity.rsplit_once('_').map_or(identity, |(head, _)| head)
}
