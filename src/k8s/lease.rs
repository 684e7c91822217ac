//! The lock's record in a Lease: standard fields where Kubernetes has them, annotations for the rest.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::words::{
    LEASE_ACTIVE, LEASE_ENDED, LEASE_HANDOVER, LEASE_LEAVING, LEASE_RELEASED_EPOCH, LEASE_RENEWALS,
    LEASE_RENOUNCED_EPOCH, LEASE_SUCCESSOR,
};
use crate::base::clock::UnixMillis;

/// The active node, as the Lease publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseActive {
    /// Identity (`<pod>_<pod uid>_<random per process start>`).
    pub identity: String,
    /// The epoch that it claimed.
    pub epoch: u64,
    /// Its API address, a URL.
    pub api_addr: String,
    /// Its cluster address, a URL.
    pub cluster_addr: String,
}

/// A wish to hand over, written by the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseHandover {
    /// Makes the wish distinguishable from an earlier one.
    pub nonce: String,
    /// The pod that shall take over; any if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What a Lease says about the leadership of a vault cluster. See the constants in [`super::words`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Identity of the holder; empty when released.
    pub holder: String,
    /// How long the record is to be believed without a renewal, in seconds.
    pub duration_seconds: u32,
    /// Changes with every renewal.
    pub renewals: u64,
    /// Changes of holder so far.
    pub transitions: u32,
    /// On a release: the epoch that the releasing node held.
    pub released_epoch: Option<u64>,
    /// The active node.
    pub active: Option<LeaseActive>,
    /// The identity that alone may take the lock at once.
    pub successor: Option<String>,
    /// The epoch renounced together with naming a successor.
    pub renounced_epoch: Option<u64>,
    /// A node that is about to be deleted, by identity or pod name.
    pub leaving: Option<String>,
    /// The operator's wish to hand over.
    pub handover: Option<LeaseHandover>,
    /// A process whose container the operator saw terminated, by identity.
    pub ended: Option<String>,
}

impl LeaseRecord {
    /// Reads what `lease` says. An annotation that cannot be understood counts as absent: nobody may bring down an
    /// election by writing nonsense into it.
    pub fn read(lease: &Lease) -> Self {
        let spec = lease.spec.as_ref();
        let annotations = lease.metadata.annotations.as_ref();
        let text = |key: &str| annotations.and_then(|all| all.get(key)).filter(|text| !text.is_empty());
        let number = |key: &str| text(key).and_then(|text| text.parse().ok());
        let positive = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        Self {
            holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            duration_seconds: positive(spec.and_then(|spec| spec.lease_duration_seconds)),
            renewals: number(LEASE_RENEWALS).unwrap_or(0),
            transitions: positive(spec.and_then(|spec| spec.lease_transitions)),
            released_epoch: number(LEASE_RELEASED_EPOCH),
            active: text(LEASE_ACTIVE).and_then(|text| parse(text)),
            successor: text(LEASE_SUCCESSOR).cloned(),
            renounced_epoch: number(LEASE_RENOUNCED_EPOCH),
            leaving: text(LEASE_LEAVING).cloned(),
            handover: text(LEASE_HANDOVER).and_then(|text| parse(text)),
            ended: text(LEASE_ENDED).cloned(),
        }
    }

    /// Writes the record into `lease` and leaves everything else in it as it is. `now` is shown to people; nobody
    /// judges expiry by it.
    pub fn write(&self, lease: &mut Lease, now: UnixMillis) {
        let before = Self::read(lease);
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        let stamp =
            jiff::Timestamp::from_millisecond(i64::try_from(now.0).unwrap_or(i64::MAX)).ok().map(MicroTime);
        if before.holder != self.holder || spec.acquire_time.is_none() {
            spec.acquire_time = stamp.clone();
        }
        if before.renewals != self.renewals || spec.renew_time.is_none() {
            spec.renew_time = stamp;
        }
        spec.holder_identity = Some(self.holder.clone()).filter(|holder| !holder.is_empty());
        // The API server refuses zero.
        let seconds = i32::try_from(self.duration_seconds).unwrap_or(i32::MAX);
        spec.lease_duration_seconds = Some(seconds).filter(|seconds| *seconds > 0);
        spec.lease_transitions = Some(i32::try_from(self.transitions).unwrap_or(i32::MAX));
        let annotations = lease.metadata.annotations.get_or_insert_default();
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        set(annotations, LEASE_RENEWALS, Some(self.renewals.to_string()));
        set(annotations, LEASE_RELEASED_EPOCH, number(self.released_epoch));
        set(annotations, LEASE_RENOUNCED_EPOCH, number(self.renounced_epoch));
        set(annotations, LEASE_SUCCESSOR, self.successor.clone());
        set(annotations, LEASE_LEAVING, self.leaving.clone());
        set(annotations, LEASE_ACTIVE, self.active.as_ref().and_then(json));
        set(annotations, LEASE_HANDOVER, self.handover.as_ref().and_then(json));
        set(annotations, LEASE_ENDED, self.ended.clone());
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn json<T: Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok()
}

fn set(annotations: &mut BTreeMap<String, String>, key: &str, value: Option<String>) {
    match value {
        Some(value) => annotations.insert(key.to_owned(), value),
        None => annotations.remove(key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LeaseRecord {
        LeaseRecord {
            holder: "vault-0_u_r".to_owned(),
            duration_seconds: 6,
            renewals: 41,
            transitions: 3,
            released_epoch: Some(8),
            active: Some(LeaseActive {
                identity: "vault-0_u_r".to_owned(),
                epoch: 9,
                api_addr: "https://10.0.0.1:8200".to_owned(),
                cluster_addr: "https://10.0.0.1:8201".to_owned(),
            }),
            successor: Some("vault-1_u_r".to_owned()),
            renounced_epoch: Some(9),
            leaving: Some("vault-2".to_owned()),
            handover: Some(LeaseHandover { nonce: "n".to_owned(), to: None }),
            ended: Some("vault-0_u_q".to_owned()),
        }
    }

    #[test]
    fn a_record_is_read_back_and_foreign_words_stay() {
        let mut lease = Lease::default();
        let foreign = lease.metadata.annotations.get_or_insert_default();
        foreign.insert("example.com/owner".to_owned(), "team-a".to_owned());
        record().write(&mut lease, UnixMillis(1_700_000_000_000));
        assert_eq!(LeaseRecord::read(&lease), record());
        LeaseRecord::default().write(&mut lease, UnixMillis(1_700_000_001_000));
        assert_eq!(LeaseRecord::read(&lease), LeaseRecord::default());
        let annotations = lease.metadata.annotations.unwrap();
        assert_eq!(annotations.get("example.com/owner").map(String::as_str), Some("team-a"));
        assert_eq!(annotations.len(), 2, "{annotations:?}");
    }

    #[test]
    fn nonsense_counts_as_absent() {
        let mut lease = Lease::default();
        let annotations = lease.metadata.annotations.get_or_insert_default();
        for key in [LEASE_ACTIVE, LEASE_HANDOVER, LEASE_RENEWALS, LEASE_RELEASED_EPOCH] {
            annotations.insert(key.to_owned(), "{nonsense".to_owned());
        }
        lease.spec = Some(LeaseSpec { lease_duration_seconds: Some(-5), ..LeaseSpec::default() });
        assert_eq!(LeaseRecord::read(&lease), LeaseRecord::default());
    }
}
