//! The specification: what a user asks for.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pods::{Image, Resources, Scheduling};
use super::service::ServiceSettings;
use super::status::VaultClusterStatus;
use super::storage::{HaStorage, Storage};
use super::tls::Tls;
use super::unseal::Unseal;

/// What the vault cluster shall be. Everything has a default: `spec: {}` is three unsealed pods with TLS that keep
/// their data in the Kubernetes API.
#[derive(CustomResource, Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "VaultCluster",
    plural = "vaultclusters",
    shortname = "vlt",
    category = "vault",
    namespaced,
    derive = "PartialEq",
    status = "VaultClusterStatus",
    doc = "A highly available vault: one active pod, standbys that forward to it, serve reads and take over.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether the specification is carried out and every pod serves"}"#,
    printcolumn = r#"{"name": "Active", "type": "string", "jsonPath": ".status.active.pod", "description": "The pod that leads"}"#,
    printcolumn = r#"{"name": "Members", "type": "string", "jsonPath": ".status.membersSummary", "description": "Pods that serve, of those asked for"}"#,
    printcolumn = r#"{"name": "Version", "type": "string", "jsonPath": ".status.version", "description": "What the active pod runs"}"#,
    printcolumn = r#"{"name": "Status", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "description": "Why it is ready or not"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name": "Storage", "type": "string", "jsonPath": ".spec.storage.type", "priority": 1, "description": "Where the data lies"}"#,
    printcolumn = r#"{"name": "Address", "type": "string", "jsonPath": ".status.active.address", "priority": 1, "description": "The address that the active pod advertises"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VaultClusterSpec {
    /// How strict the operator is. Standard: TLS is required; the operator initialises and unseals the vault and keeps
    /// its first root token in a Secret until you remove it. Hardened: no key and no token in a Secret, people
    /// initialise and unseal. Development: also allows to switch TLS off and to keep data in memory.
    #[serde(default)]
    pub profile: Profile,

    /// Number of pods, 1 to 9. One of them is active; the others stand by, serve reads and take over.
    #[serde(default = "three")]
    pub replicas: i32,

    /// The image that the pods run. By default the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,

    /// CPU and memory of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Where the vault keeps its data.
    #[serde(default)]
    pub storage: Storage,

    /// The lock by which the pods elect the active one. Absent: a Kubernetes Lease with the cluster's name, whatever
    /// the storage is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha_storage: Option<HaStorage>,

    /// Leadership and reads.
    #[serde(default)]
    pub ha: HighAvailability,

    /// Certificates of the API.
    #[serde(default)]
    pub tls: Tls,

    /// How the vault is unsealed after a start.
    #[serde(default)]
    pub unseal: Unseal,

    /// The Service that clients use.
    #[serde(default)]
    pub service: ServiceSettings,

    /// Which nodes the pods run on.
    #[serde(default)]
    pub scheduling: Scheduling,

    /// What happens to data and keys when this object is deleted.
    #[serde(default)]
    pub deletion: Deletion,

    /// If true, the operator changes nothing; it goes on reporting the status.
    #[serde(default)]
    pub paused: bool,
}

fn three() -> i32 {
    3
}

/// How strict the operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Profile {
    /// TLS required; keys in Secrets allowed and reported as a risk.
    #[default]
    Standard,
    /// No key and no token in a Secret.
    Hardened,
    /// TLS may be off, data may be in memory.
    Development,
}

/// Leadership and reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HighAvailability {
    /// Seconds after which a lock that its holder does not renew may be taken by another pod, 3 to 120. It is renewed
    /// every third of that.
    #[serde(default = "six")]
    pub lease_duration_seconds: i32,

    /// How old, in seconds, an answer to a read may be, 0 to 86400. 0: every read sees the newest data, on standbys
    /// too. More lets reads go on while the storage is away; such answers say so in a header.
    #[serde(default)]
    pub max_staleness_seconds: i32,

    /// How old, in seconds, an answer may be to a read that asks for it (X-Holdfast-Max-Staleness), 0 to 86400; at least
    /// maxStalenessSeconds, and that by default. A token that was revoked may read for as long where the newest state
    /// cannot be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness_limit_seconds: Option<i32>,

    /// Whether standbys answer reads. Without it they forward every request to the active pod.
    #[serde(default = "yes")]
    pub standby_reads: bool,
}

impl Default for HighAvailability {
    fn default() -> Self {
        Self {
            lease_duration_seconds: six(),
            max_staleness_seconds: 0,
            staleness_limit_seconds: None,
            standby_reads: true,
        }
    }
}

fn six() -> i32 {
    6
}

fn yes() -> bool {
    true
}

/// What happens to data and keys when the object is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Deletion {
    /// Retain: data, keys and the CA stay, and creating a VaultCluster of the same name brings the same secrets back.
    /// Delete: they are deleted with this object and cannot be recovered.
    #[serde(default)]
    pub policy: DeletionPolicy,
}

/// What happens to data and keys when the object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// They go.
    Delete,
}
