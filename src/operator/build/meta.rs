//! Metadata that all children share, and the child itself.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};

use super::Context;
use crate::k8s::words::{GROUP, LABEL_CLUSTER, VERSION};

/// A kind of child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    ServiceAccount,
    Role,
    RoleBinding,
    Lease,
    Head,
    Secret,
    Service,
    PodDisruptionBudget,
    StatefulSet,
}

impl Kind {
    /// Group, version, kind and plural.
    fn words(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::Role => ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
            Self::RoleBinding => ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
            Self::Lease => ("coordination.k8s.io", "v1", "Lease", "leases"),
            Self::Head => (GROUP, VERSION, "VaultStoreHead", "vaultstoreheads"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::PodDisruptionBudget => ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
        }
    }

    /// How the client names it.
    pub(crate) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.words();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// The word in `kind`.
    pub(crate) fn word(self) -> &'static str {
        self.words().2
    }
}

/// Whether a child goes with its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Always.
    Owned,
    /// Only under `deletion.policy: Delete`: data and keys.
    Kept,
}

/// A child as it shall be.
#[derive(Clone, PartialEq)]
pub(crate) struct Child {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) value: Value,
}

impl std::fmt::Debug for Child {
    // Secrets are children too: their content must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind.word(), self.name)
    }
}

/// A child with the common metadata; `body` holds everything else.
pub(crate) fn child(
    context: &Context<'_>,
    kind: Kind,
    name: &str,
    ownership: Ownership,
    body: Map<String, Value>,
) -> Child {
    let resource = kind.resource();
    let mut value = Map::new();
    value.insert("apiVersion".to_owned(), json!(resource.api_version));
    value.insert("kind".to_owned(), json!(resource.kind));
    let mut metadata = json!({
        "name": name,
        "namespace": context.names.namespace,
        "labels": labels(context),
    });
    if ownership == Ownership::Owned || context.is_deleted_with_object() {
        metadata["ownerReferences"] = json!([owner(context)]);
    }
    value.insert("metadata".to_owned(), metadata);
    value.extend(body);
    Child { kind, name: name.to_owned(), value: Value::Object(value) }
}

/// The fields of `value`, which must be an object.
pub(crate) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Labels of every child and of the pods.
pub(crate) fn labels(context: &Context<'_>) -> Value {
    json!({
        "app.kubernetes.io/name": "holdfast",
        "app.kubernetes.io/component": "server",
        "app.kubernetes.io/instance": context.names.base,
        "app.kubernetes.io/managed-by": "holdfast-operator",
        LABEL_CLUSTER: context.names.base,
    })
}

/// The labels by which pods are found; frozen for ever, since a StatefulSet's selector cannot change.
pub(crate) fn selector(context: &Context<'_>) -> Value {
    json!({LABEL_CLUSTER: context.names.base})
}

fn owner(context: &Context<'_>) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "VaultCluster",
        "name": context.names.base,
        "uid": context.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
