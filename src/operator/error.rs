//! What can go wrong on a visit.

use kube::error::Error as KubeError;
use thiserror::Error;

use crate::base::class::ErrorClass;
use crate::crypto::x509::X509Error;

/// Why a visit could not be finished. The next one starts from what is there.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// The API server refused a call or did not answer.
    #[error("{what}: {}", spoken(source))]
    Api {
        /// What was to be done.
        what: String,
        /// What it said.
        source: Box<KubeError>,
    },
    /// An object is not what its kind says.
    #[error("{what} cannot be read: {reason}")]
    Malformed {
        /// The object.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate cannot be read or made.
    #[error("certificates: {0}")]
    Certificates(#[from] X509Error),
    /// The kinds that we reconcile are not there.
    #[error("the kind VaultCluster is not installed: apply crds/, or install the chart ({0})")]
    NotInstalled(String),
    /// The listener for probes and metrics cannot be opened.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        reason: String,
    },
}

impl OperatorError {
    /// Wraps what the API server said when it was asked to do `what`.
    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(KubeError) -> Self {
        let what = what.into();
        move |source| Self::Api { what, source: Box::new(source) }
    }

    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Api { source, .. } => match status_code(source) {
                Some(403) => ErrorClass::Denied,
                Some(404) => ErrorClass::NotFound,
                Some(409) => ErrorClass::Conflict,
                Some(400 | 422) => ErrorClass::Invalid,
                _ => ErrorClass::Unavailable,
            },
            Self::Malformed { .. } | Self::NotInstalled(_) | Self::Listen { .. } => ErrorClass::Invalid,
            Self::Certificates(error) => error.class(),
        }
    }
}

/// What the API server said, without the fields around it.
fn spoken(error: &KubeError) -> String {
    match error {
        KubeError::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// The HTTP status of a refusal by the API server.
pub(crate) fn status_code(error: &KubeError) -> Option<u16> {
    match error {
        KubeError::Api(status) => Some(status.code),
        _ => None,
    }
}
