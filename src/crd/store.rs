//! The two kinds of the storage in Kubernetes: one head object a vault, and immutable segments.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most characters of [`VaultStoreSegmentSpec::data`]; keeps an object clear of etcd's limit of 1.5 MiB a request.
pub const SEGMENT_CHARS: usize = 900_000;

/// The one object of a vault that every commit replaces, compared by its `resourceVersion`.
///
/// The head itself (cluster, epoch, sequence number and so on) is JSON in the annotation `holdfast.dev/head`, so
/// that reading it takes the object's metadata alone. An object without that annotation is a store that is not
/// initialised yet. Nobody but the servers writes to it; labels and other annotations may be added freely.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "VaultStoreHead",
    plural = "vaultstoreheads",
    namespaced,
    derive = "PartialEq",
    printcolumn = r#"{"name": "Bytes", "type": "integer", "jsonPath": ".spec.dataBytes", "description": "Bytes of data that the vault holds"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VaultStoreHeadSpec {
    /// The segments that hold the vault's content up to the first inline record, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentEntry>,
    /// The newest commits, encoded, in base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub records: String,
    /// Bytes of keys and values that the vault holds.
    #[serde(default)]
    pub data_bytes: u64,
}

/// A segment as the head lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SegmentEntry {
    /// Name of the object.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// What it holds.
    pub kind: SegmentKind,
    /// Sequence number of the last commit that it covers; it begins after the last one of the entry before.
    pub last: u64,
    /// Bytes of its content, parts included.
    pub bytes: u64,
    /// Number of further segments that it lists and that hold its content; zero if it holds the content itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub parts: u32,
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SegmentKind {
    /// Commits, one by one.
    Log,
    /// The outcome of a range of commits: each key that they touched, with its value or its absence.
    Run,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// A part of a vault's content. Never changed after its creation, and deleted only by the active server.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "holdfast.dev",
    version = "v1alpha1",
    kind = "VaultStoreSegment",
    plural = "vaultstoresegments",
    namespaced,
    derive = "PartialEq",
    validation = ("self.spec == oldSelf.spec", "a segment is immutable"),
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VaultStoreSegmentSpec {
    /// The content, encoded, in base64.
    #[schemars(length(max = 900_000))]
    pub data: String,
}
