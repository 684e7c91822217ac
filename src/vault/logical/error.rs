//! What an engine may fail with.

use thiserror::Error;

use crate::base::class::ErrorClass;

/// Why an engine did not carry out a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogicalError {
    /// The input is wrong; the text is shown to the caller (400).
    #[error("{0}")]
    Invalid(String),
    /// The caller may not do this (403, always "permission denied").
    #[error("permission denied")]
    Denied,
    /// There is nothing at this path in the engine (404 "unsupported path").
    #[error("unsupported path")]
    UnsupportedPath,
    /// The operation is not defined on this path (405).
    #[error("unsupported operation")]
    UnsupportedOperation,
    /// The storage cannot answer or the transaction cannot go on; the text is shown (503).
    #[error("{0}")]
    Unavailable(String),
    /// The storage refuses what was to be written (too large, full); the text is shown.
    #[error("{message}")]
    Refused {
        /// The class that decides the status.
        class: ErrorClass,
        /// The text.
        message: String,
    },
    /// This node cannot carry the request out, the active one can: forward it.
    #[error("this request must be served by the active node")]
    NeedsActive,
    /// A fault of ours. The text goes to the log; the caller sees "internal error".
    #[error("{0}")]
    Internal(String),
}

impl LogicalError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Invalid(_) => ErrorClass::Invalid,
            Self::Denied => ErrorClass::Denied,
            Self::UnsupportedPath => ErrorClass::NotFound,
            Self::UnsupportedOperation => ErrorClass::Unsupported,
            Self::Unavailable(_) | Self::NeedsActive => ErrorClass::Unavailable,
            Self::Refused { class, .. } => *class,
            Self::Internal(_) => ErrorClass::Internal,
        }
    }
}
