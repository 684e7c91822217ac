//! Built-in policies.

use super::model::{Capabilities, Capability, Grant, Policy, Rule};

/// What every token may do unless its maker says otherwise. Stored by init; people may edit it.
pub const DEFAULT_POLICY: &str = r#"# What every token may do.

# Look up, renew and revoke itself.
path "auth/token/lookup-self" {
    capabilities = ["read"]
}
path "auth/token/renew-self" {
    capabilities = ["update"]
}
path "auth/token/revoke-self" {
    capabilities = ["update"]
}

# See what it may do.
path "sys/capabilities-self" {
    capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
    capabilities = ["read"]
}

# See its own identity.
path "identity/entity/id/{{identity.entity.id}}" {
    capabilities = ["read"]
}
path "identity/entity/name/{{identity.entity.name}}" {
    capabilities = ["read"]
}

# Look up and renew leases that it knows.
path "sys/renew" {
    capabilities = ["update"]
}
path "sys/leases/renew" {
    capabilities = ["update"]
}
path "sys/leases/lookup" {
    capabilities = ["update"]
}

# Its private storage.
path "cubbyhole/*" {
    capabilities = ["create", "read", "update", "delete", "list"]
}

# Response wrapping.
path "sys/wrapping/wrap" {
    capabilities = ["update"]
}
path "sys/wrapping/lookup" {
    capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
    capabilities = ["update"]
}

# General tools.
path "sys/tools/hash" {
    capabilities = ["update"]
}
path "sys/tools/hash/*" {
    capabilities = ["update"]
}

# Log in to OpenID Connect providers.
path "identity/oidc/provider/+/authorize" {
    capabilities = ["read", "update"]
}
"#;

/// What a wrapping token may do.
pub(super) fn response_wrapping() -> Policy {
    let grant = |capabilities: &[Capability]| Grant {
        capabilities: capabilities.iter().fold(Capabilities::default(), |all, one| all.with(*one)),
        ..Grant::default()
    };
    Policy {
        rules: vec![
            Rule {
                path: "cubbyhole/response".to_owned(),
                grant: grant(&[Capability::Create, Capability::Read]),
            },
            Rule { path: "sys/wrapping/unwrap".to_owned(), grant: grant(&[Capability::Update]) },
        ],
    }
}
