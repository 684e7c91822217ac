//! The pods' service account and what it may do: nothing but its own lock, head and segments.

use serde_json::{Value, json};

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields};
use crate::crd::cluster::StorageType;
use crate::k8s::words::GROUP;

/// The service account. Pods mount their token themselves, with a short life.
pub(crate) fn service_account(context: &Context<'_>) -> Child {
    let body = json!({"automountServiceAccountToken": false});
    child(context, Kind::ServiceAccount, &context.names.base, Ownership::Owned, fields(body))
}

/// The Role. Creation cannot be limited to a name, so the operator creates Lease and head before the pods.
pub(crate) fn role(context: &Context<'_>) -> Child {
    let body = json!({"rules": rules(context)});
    child(context, Kind::Role, &context.names.base, Ownership::Owned, fields(body))
}

fn rules(context: &Context<'_>) -> Value {
    let name = &context.names.base;
    let verbs = ["get", "list", "watch", "update"];
    let kind = context.cluster.spec.storage.kind;
    let mut rules = Vec::new();
    if kind.is_shared() {
        rules.push(json!({
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": [name],
            "verbs": verbs,
        }));
    }
    if kind == StorageType::Kubernetes {
        rules.push(json!({
            "apiGroups": [GROUP],
            "resources": ["vaultstoreheads"],
            "resourceNames": [name],
            "verbs": verbs,
        }));
        rules.push(json!({
            "apiGroups": [GROUP],
            "resources": ["vaultstoresegments"],
            "verbs": ["get", "list", "create", "delete"],
        }));
    }
    json!(rules)
}

/// The RoleBinding.
pub(crate) fn role_binding(context: &Context<'_>) -> Child {
    let name = &context.names.base;
    let body = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": context.names.namespace}],
    });
    child(context, Kind::RoleBinding, name, Ownership::Owned, fields(body))
}
