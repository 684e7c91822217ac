//! Builders of children, one kind a file. Pure: a cluster in, an object out.
//!
//! Objects are JSON, because that is what server-side apply sends: exactly the fields that we mean to own. A test
//! reads each back as the API's own type, so that a misspelt field fails.

pub(crate) mod certificates;
pub(crate) mod config;
pub(crate) mod disruption;
pub(crate) mod head;
pub(crate) mod keys;
pub(crate) mod lease;
pub(crate) mod meta;
pub(crate) mod pod;
pub(crate) mod rbac;
pub(crate) mod services;
pub(crate) mod stateful_set;
pub(crate) mod storage;

#[cfg(test)]
mod tests;

use super::names::Names;
use super::settings::Settings;
use crate::crd::VaultCluster;
use crate::crd::cluster::DeletionPolicy;

/// A cluster that passed validation, with everything that builders need.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Context<'a> {
    pub(crate) cluster: &'a VaultCluster,
    pub(crate) settings: &'a Settings,
    pub(crate) names: Names,
    /// The cluster object's UID.
    pub(crate) uid: String,
}

impl<'a> Context<'a> {
    /// `None` for an object without name, namespace or UID, which the API server never delivers.
    pub(crate) fn new(cluster: &'a VaultCluster, settings: &'a Settings) -> Option<Self> {
        let base = cluster.metadata.name.clone()?;
        let namespace = cluster.metadata.namespace.clone()?;
        let uid = cluster.metadata.uid.clone()?;
        Some(Self { cluster, settings, names: Names { base, namespace }, uid })
    }

    /// Whether data and keys go with the object.
    pub(crate) fn is_deleted_with_object(&self) -> bool {
        self.cluster.spec.deletion.policy == DeletionPolicy::Delete
    }
}
