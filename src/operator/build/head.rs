//! The head of the storage in Kubernetes, created empty: pods may update it, not create it.

use serde_json::json;

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields};
use crate::crd::cluster::StorageType;

/// The head, if the cluster's data lies in the Kubernetes API. Only its metadata is ours.
pub(crate) fn head(context: &Context<'_>) -> Option<Child> {
    (context.cluster.spec.storage.kind == StorageType::Kubernetes).then(|| {
        child(context, Kind::Head, &context.names.base, Ownership::Kept, fields(json!({"spec": {}})))
    })
}
