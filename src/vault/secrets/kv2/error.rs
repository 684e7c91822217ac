//! What KV version 2 refuses; the texts are Vault's.

use thiserror::Error;

use crate::base::class::ErrorClass;
use crate::vault::logical::LogicalError;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Kv2Error {
    /// A write to the root.
    #[error("missing path")]
    MissingPath,
    /// A data write without `data`.
    #[error("no data provided")]
    NoData,
    /// `options.cas` is no number.
    #[error("error parsing check-and-set parameter")]
    CasUnreadable,
    /// The mount or the key demands `cas`.
    #[error("check-and-set parameter required for this call")]
    CasRequired,
    /// `cas` names another version than the current one.
    #[error("check-and-set parameter did not match the current version")]
    CasMismatch,
    /// delete, undelete or destroy without `versions`.
    #[error("No version number provided")]
    NoVersions,
    /// `max_versions` does not fit.
    #[error("max_versions must be between 0 and {}", u32::MAX)]
    MaxVersions,
    /// Too many members of `custom_metadata`.
    #[error(
        "custom_metadata validation failed: payload must contain at most {most} keys, provided {provided}"
    )]
    CustomMetadataKeys {
        /// Most members.
        most: usize,
        /// Members given.
        provided: usize,
    },
    /// A name in `custom_metadata` is empty or too long.
    #[error(
        "custom_metadata validation failed: length of key {key:?} is {length} but must be 0 < len(key) <= {most}"
    )]
    CustomMetadataKeyLength {
        /// The name.
        key: String,
        /// Its length in bytes.
        length: usize,
        /// Most bytes.
        most: usize,
    },
    /// A value in `custom_metadata` is empty or too long.
    #[error(
        "custom_metadata validation failed: length of value for key {key:?} is {length} but must be 0 < len(value) <= \
         {most}"
    )]
    CustomMetadataValueLength {
        /// The name.
        key: String,
        /// The value's length in bytes.
        length: usize,
        /// Most bytes.
        most: usize,
    },
    /// A name in `custom_metadata` cannot be printed.
    #[error("custom_metadata validation failed: key {key:?} contains unprintable characters")]
    CustomMetadataKeyUnprintable {
        /// The name.
        key: String,
    },
    /// A value in `custom_metadata` cannot be printed.
    #[error("custom_metadata validation failed: value for key {key:?} contains unprintable characters")]
    CustomMetadataValueUnprintable {
        /// The name.
        key: String,
    },
    /// A value in `custom_metadata` is a list or an object.
    #[error("custom_metadata validation failed: value for key {key:?} must be a string")]
    CustomMetadataValueKind {
        /// The name.
        key: String,
    },
}

impl Kv2Error {
    /// The class of the error.
    pub(super) fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

impl From<Kv2Error> for LogicalError {
    fn from(error: Kv2Error) -> Self {
        debug_assert_eq!(error.class(), ErrorClass::Invalid);
        Self::Invalid(error.to_string())
    }
}
