//! Why the kernel has no answer.

use thiserror::Error;

use crate::base::class::ErrorClass;
use crate::vault::barrier::BarrierError;
use crate::vault::physical::{StorageError, SubmitError};
use crate::vault::seal::SealError;

/// Why the kernel could not give an answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CoreError {
    /// The node is sealed.
    #[error("Vault is sealed")]
    Sealed,
    /// The storage holds no vault.
    #[error("security barrier not initialized")]
    NotInitialized,
    /// The storage holds one already.
    #[error("Vault is already initialized")]
    AlreadyInitialized,
    /// The input of init or unseal is wrong; the text is shown.
    #[error("{0}")]
    Invalid(String),
    /// The request may or may not have been carried out.
    #[error("the request may or may not have been carried out: {0}")]
    Unknown(String),
    /// It cannot be served now and nothing was written; trying again can help.
    #[error("{0}")]
    Unavailable(String),
    /// A commit is above the limits of the storage, or the storage is full.
    #[error("{message}")]
    Refused {
        /// The class that decides the status.
        class: ErrorClass,
        /// The text.
        message: String,
    },
    /// No audit device could write; nothing was executed.
    #[error("failed to write the audit log: {0}")]
    Audit(String),
    /// A fault of ours or damaged data; the text goes to the log, the caller sees "internal error".
    #[error("{0}")]
    Internal(String),
}

impl CoreError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Sealed | Self::NotInitialized | Self::Unavailable(_) => ErrorClass::Unavailable,
            Self::AlreadyInitialized | Self::Invalid(_) => ErrorClass::Invalid,
            Self::Unknown(_) => ErrorClass::Unknown,
            Self::Refused { class, .. } => *class,
            Self::Audit(_) | Self::Internal(_) => ErrorClass::Internal,
        }
    }

    /// The text for the caller: internal details stay in the log.
    pub fn public_message(&self) -> String {
        match self {
            Self::Audit(_) | Self::Internal(_) => "internal error".to_owned(),
            other => other.to_string(),
        }
    }
}

impl From<StorageError> for CoreError {
    fn from(error: StorageError) -> Self {
        match &error {
            StorageError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            StorageError::Empty { .. } => Self::NotInitialized,
            StorageError::TooLarge { .. }
            | StorageError::TooManyOperations { .. }
            | StorageError::Full { .. }
            | StorageError::BadKey { .. } => {
                Self::Refused { class: error.class(), message: error.to_string() }
            }
            StorageError::Denied { .. } | StorageError::Damaged { .. } => Self::Internal(error.to_string()),
        }
    }
}

impl From<SubmitError> for CoreError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Storage(error) => error.into(),
            SubmitError::Unknown { reason } => Self::Unknown(reason),
            other @ (SubmitError::Conflict
            | SubmitError::NotApplied
            | SubmitError::NotActive
            | SubmitError::Busy) => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<BarrierError> for CoreError {
    fn from(error: BarrierError) -> Self {
        match error {
            BarrierError::Storage(error) => error.into(),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<SealError> for CoreError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Unavailable(text) => Self::Unavailable(text),
            other => Self::Invalid(other.to_string()),
        }
    }
}
