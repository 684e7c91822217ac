//! The budget that lets a drain take one pod at a time.

use serde_json::json;

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields, selector};

/// The budget; none for one pod, which it would tie to its node for ever.
///
/// It selects by cluster alone: a budget on the role would match no pod while leadership moves. Sealed or broken
/// pods never block a drain.
pub(crate) fn budget(context: &Context<'_>) -> Option<Child> {
    (context.cluster.spec.replicas > 1).then(|| {
        let body = json!({"spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(context)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }});
        child(context, Kind::PodDisruptionBudget, &context.names.base, Ownership::Owned, fields(body))
    })
}
