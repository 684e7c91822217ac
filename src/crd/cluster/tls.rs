//! Certificates of the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::storage::SecretRef;

/// Certificates of the API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// OperatorManaged: the operator keeps a CA for this cluster and publishes its certificate in the Secret
    /// `<name>-ca-cert`; each pod has a certificate for the Services' names, its own name and its IP address. Secret:
    /// you bring the certificate. Disabled: no TLS, with profile Development only.
    #[serde(default)]
    pub mode: TlsMode,
    /// With mode Secret: a Secret in this namespace with `tls.crt`, `tls.key` and `ca.crt`. Its names must hold
    /// `<name>.<namespace>.svc`. The pods read it again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// Where the certificates come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// From a CA that the operator keeps.
    #[default]
    OperatorManaged,
    /// From a Secret.
    Secret,
    /// There are none.
    Disabled,
}
