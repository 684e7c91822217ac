//! Why the barrier could not read or write.

use thiserror::Error;

use crate::base::class::ErrorClass;
use crate::crypto::aead::AeadError;
use crate::vault::logical::LogicalError;
use crate::vault::physical::StorageError;

/// Why the barrier could not read or write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BarrierError {
    /// The storage could not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The record was written under a key that this node does not have.
    #[error("record {path} is encrypted under key term {term}, which this node does not have")]
    UnknownTerm {
        /// The record.
        path: String,
        /// The term.
        term: u32,
    },
    /// The record is not what was written there.
    #[error("record {path} cannot be decrypted: {reason}")]
    Damaged {
        /// The record.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// This node cannot write.
    #[error("this node is not the active one")]
    NotWritable,
    /// A key is not 32 bytes, or a record too large to encrypt.
    #[error(transparent)]
    Cipher(#[from] AeadError),
}

impl BarrierError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Storage(error) => error.class(),
            Self::NotWritable => ErrorClass::Unavailable,
            Self::UnknownTerm { .. } | Self::Damaged { .. } | Self::Cipher(_) => ErrorClass::Internal,
        }
    }
}

impl From<BarrierError> for LogicalError {
    fn from(error: BarrierError) -> Self {
        match &error {
            BarrierError::NotWritable => Self::NeedsActive,
            BarrierError::Storage(StorageError::Unavailable { .. } | StorageError::Empty { .. }) => {
                Self::Unavailable(error.to_string())
            }
            BarrierError::Storage(
                StorageError::TooLarge { .. }
                | StorageError::TooManyOperations { .. }
                | StorageError::Full { .. }
                | StorageError::BadKey { .. },
            ) => Self::Refused { class: error.class(), message: error.to_string() },
            BarrierError::Storage(StorageError::Denied { .. } | StorageError::Damaged { .. })
            | BarrierError::UnknownTerm { .. }
            | BarrierError::Damaged { .. }
            | BarrierError::Cipher(_) => Self::Internal(error.to_string()),
        }
    }
}
