//! The StatefulSet. It never replaces a pod by itself: the operator chooses which pod goes, and when.

use serde_json::json;

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields, selector};
use super::pod;

/// The StatefulSet.
pub(crate) fn stateful_set(context: &Context<'_>) -> Child {
    let body = json!({"spec": {
        "replicas": context.cluster.spec.replicas,
        "serviceName": context.names.internal(),
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"},
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector(context)},
        "template": pod::template(context),
    }});
    child(context, Kind::StatefulSet, &context.names.base, Ownership::Owned, fields(body))
}
