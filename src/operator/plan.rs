//! What shall be: the children of a cluster, in the order in which they are applied.

use super::build::meta::Child;
use super::build::{Context, config, disruption, head, lease, rbac, services, stateful_set};

/// The children that are applied on every visit. Keys and certificates are planned apart, because they are made once.
pub(crate) fn children(context: &Context<'_>) -> Vec<Child> {
    let mut out = vec![
        rbac::service_account(context),
        rbac::role(context),
        rbac::role_binding(context),
        lease::lease(context),
    ];
    out.extend(head::head(context));
    out.push(config::config(context));
    out.extend([
        services::main(context),
        services::active(context),
        services::standby(context),
        services::internal(context),
    ]);
    out.extend(disruption::budget(context));
    out.push(stateful_set::stateful_set(context));
    out
}
