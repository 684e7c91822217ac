//! What goes wrong with a file, sorted by what can be done about it.

use std::io;

use thiserror::Error;

use super::KIND;
use crate::vault::physical::backend::StorageError;

/// Why the embedded store gave no answer.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The disk, or the user's share of it, is full.
    #[error("there is no room: {0}")]
    NoRoom(String),
    /// The disk fails, or the file is not where it was; it may come back.
    #[error("{0}")]
    Away(String),
    /// What is stored cannot be right.
    #[error("{0}")]
    Damaged(String),
}

impl From<Failure> for StorageError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoRoom(_) | Failure::Away(_) => {
                Self::Unavailable { storage: KIND, reason: failure.to_string() }
            }
            Failure::Damaged(reason) => Self::Damaged { storage: KIND, reason },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, InvalidData, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::NoRoom(error.to_string()),
            InvalidData => Self::Damaged(format!("the file is not a store: {error}")),
            _ => Self::Away(error.to_string()),
        }
    }
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        use redb::Error::{
            Corrupted, Io, TableDoesNotExist, TableTypeMismatch, TypeDefinitionChanged, UpgradeRequired,
        };
        match error {
            Io(error) => error.into(),
            damaged @ (Corrupted(_)
            | TableDoesNotExist(_)
            | TableTypeMismatch { .. }
            | TypeDefinitionChanged { .. }
            | UpgradeRequired(_)) => Self::Damaged(damaged.to_string()),
            other => Self::Away(other.to_string()),
        }
    }
}

/// Lets `?` turn each of the embedded store's errors into a failure.
macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb![CommitError, DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let of = |kind: io::ErrorKind| Failure::from(redb::StorageError::Io(kind.into()));
        assert!(matches!(of(io::ErrorKind::StorageFull), Failure::NoRoom(_)));
        assert!(matches!(of(io::ErrorKind::FileTooLarge), Failure::NoRoom(_)));
        assert!(matches!(of(io::ErrorKind::InvalidData), Failure::Damaged(_)));
        assert!(matches!(of(io::ErrorKind::Other), Failure::Away(_)));
        assert!(matches!(redb::StorageError::PreviousIo.into(), Failure::Away(_)));
        assert!(matches!(redb::StorageError::Corrupted("x".to_owned()).into(), Failure::Damaged(_)));
    }
}
