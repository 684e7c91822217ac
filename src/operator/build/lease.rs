//! The Lease by which the pods elect, created without a holder: pods may update it, not create it.

use serde_json::json;

use super::Context;
use super::meta::{Child, Kind, Ownership, child, fields};

/// The Lease. Only its metadata is ours; its spec belongs to the servers.
pub(crate) fn lease(context: &Context<'_>) -> Child {
    child(context, Kind::Lease, &context.names.base, Ownership::Owned, fields(json!({})))
}
