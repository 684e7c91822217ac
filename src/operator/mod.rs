//! The controller: a `VaultCluster` in, pods, Services, certificates, a Lease and status conditions out.
//!
//! One visit is `observe → validate → plan → apply → report`. Only observe, apply and report wait for anything; what
//! decides is pure: `materials`, `initialisation`, `rolling`, `roles`, `conditions`, `status` and the
//! builders below `build`.
//!
//! # Rights
//! What the controller asks of the API server; the chart's ClusterRole is made from this table.
//!
//! | group | resource | verbs |
//! |---|---|---|
//! | holdfast.dev | vaultclusters | get, list, watch |
//! | holdfast.dev | vaultclusters/status | get, patch |
//! | holdfast.dev | vaultclusters/finalizers | update (to set `blockOwnerDeletion`) |
//! | holdfast.dev | vaultstoreheads | get, list, watch, create, patch, update |
//! | holdfast.dev | vaultstoresegments | get, list, create, delete (granted to pods) |
//! | (core) | secrets | get, create, patch, delete |
//! | (core) | services, serviceaccounts | get, list, watch, create, patch |
//! | (core) | pods | get, list, watch, patch, delete |
//! | apps | statefulsets | get, list, watch, create, patch |
//! | coordination.k8s.io | leases | get, list, watch, create, patch, update |
//! | policy | poddisruptionbudgets | get, create, patch, delete |
//! | rbac.authorization.k8s.io | roles, rolebindings | get, create, patch |
//! | discovery.k8s.io | endpointslices | list, watch |
//! | events.k8s.io | events | create, patch |
//!
//! `list`, `watch` and `update` of heads and Leases, and the verbs of segments, are held because pods are granted them.

mod apply;
mod build;
mod conditions;
mod error;
mod events;
mod initialisation;
mod live;
mod materials;
mod metrics;
mod names;
mod node;
mod observe;
mod plan;
mod reconcile;
mod roles;
mod rolling;
mod run;
mod settings;
mod status;
mod validate;

#[cfg(test)]
mod tests;

pub use error::OperatorError;
pub use run::run;
pub use settings::Settings;
