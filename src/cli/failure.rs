//! How a command fails, and with which exit code.

use crate::api::client::ClientError;

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What a person reads.
    pub(super) message: String,
    /// The exit code.
    pub(super) code: u8,
}

impl Failure {
    /// A failure on this side: exit code 1.
    pub(super) fn local(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// A refusal by the server: exit code 2.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// A call that failed while `doing` something.
    pub(super) fn call(doing: &str, error: &ClientError) -> Self {
        let code = if matches!(error, ClientError::Input { .. } | ClientError::Trust { .. }) { 1 } else { 2 };
        let hint = match error {
            ClientError::Unreachable { reason, .. } if reason.contains("InvalidContentType") => {
                "\n\nThe server does not seem to speak TLS: try an address that begins with http://."
            }
            ClientError::Unreachable { reason, .. } if reason.contains("certificate") => {
                "\n\nName the CA of the server with -ca-cert=FILE or VAULT_CACERT."
            }
            _ => "",
        };
        Self { message: format!("Error {doing}: {error}{hint}"), code }
    }
}
