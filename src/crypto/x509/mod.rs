//! X.509 certificates on P-256: authorities, name-constrained issuers and leaves; PEM in and out.
//!
//! No clock and no network: validity is an argument. What is made here is accepted by rustls, OpenSSL and Go.

pub mod authority;
mod encode;
pub mod key;
pub mod read;

pub use authority::{Authority, Leaf, LeafSpec, Usage, Validity};
pub use key::SigningKey;
pub use read::{CertificateInfo, inspect};

use thiserror::Error;

use crate::base::class::ErrorClass;

/// Why a certificate or key could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum X509Error {
    /// Text that should be PEM is not, or holds something else.
    #[error("{what} is not valid PEM: {reason}")]
    Pem {
        /// What was to be read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is of a kind that this program does not sign with.
    #[error("the key is not a P-256 key in PKCS#8")]
    Key,
    /// The certificate and the key do not belong together.
    #[error("the certificate does not belong to the key")]
    Mismatch,
    /// A name cannot be put into a certificate.
    #[error("{0:?} is not a DNS name that a certificate can carry")]
    Name(String),
    /// Encoding or signing failed.
    #[error("certificate cannot be made: {0}")]
    Encode(String),
}

impl X509Error {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Pem { .. } | Self::Key | Self::Mismatch | Self::Name(_) => ErrorClass::Invalid,
            Self::Encode(_) => ErrorClass::Internal,
        }
    }
}

#[cfg(test)]
mod tests;
