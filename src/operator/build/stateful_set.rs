//! The StatefulSet. It never replaces a pod by itself: the operator chooses which pod goes, and when.

use serde_json::json;

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields, selector};
use super::{pod, storage};

/// The StatefulSet.
pub(crate) fn stateful_set(context: &Context<'_>) -> Child {
    let mut body = json!({"spec": {
        "replicas": context.cluster.spec.replicas,
        "serviceName": context.names.internal(),
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"},
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector(context)},
        "template": pod::template(context),
    }});
    if let Some(claims) = storage::claims(context) {
        body["spec"]["volumeClaimTemplates"] = claims;
    }
    child(context, Kind::StatefulSet, &context.names.base, Ownership::Owned, fields(body))
}
