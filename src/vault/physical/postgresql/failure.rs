//! [`Failure`]: why a database did not answer, or not with certainty.

use std::fmt;
use std::time::Duration;

use tokio_postgres::error::{DbError, Severity, SqlState};

use super::config::KIND;
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::register::RegisterError;
use crate::vault::physical::unusable::Unusable;

/// Why something was not answered, or not with certainty.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// No server could be reached that takes writes.
    Away(String),
    /// A person must change something.
    Unusable(Unusable),
    /// No answer in time.
    Late { address: String, limit: Duration },
    /// The server refused the statement.
    Refused { address: String, state: SqlState, reason: String },
    /// The connection was lost, or what came over it was no answer.
    Lost { address: String, reason: String },
    /// What is stored cannot be read.
    Damaged { address: String, reason: String },
    /// There was an answer, with a warning in front of it: what it says may not hold.
    Warned { address: String },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(reason) => f.write_str(reason),
            Self::Unusable(reason) => write!(f, "{reason}"),
            Self::Late { address, limit } => {
                write!(f, "no answer from {address} within {} s", limit.as_secs_f64())
            }
            Self::Refused { address, reason, .. } => write!(f, "{address} says: {reason}"),
            Self::Lost { address, reason } => write!(f, "the connection to {address} failed: {reason}"),
            Self::Damaged { address, reason } => {
                write!(f, "what is stored at {address} is damaged: {reason}")
            }
            Self::Warned { address } => {
                write!(f, "{address} answered with a warning: a standby may not have what was written")
            }
        }
    }
}

impl Failure {
    /// What went wrong with a statement.
    pub(super) fn of(address: &str, error: &tokio_postgres::Error) -> Self {
        let address = address.to_owned();
        match error.as_db_error() {
            Some(said) if is_definite(said) => {
                Self::Refused { address, state: said.code().clone(), reason: said.message().to_owned() }
            }
            _ => Self::Lost { address, reason: chain(error) },
        }
    }

    /// Whether asking again on another connection may help at once.
    pub(super) fn is_worth_another_try(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Refused { .. })
    }

    fn is_denied(&self) -> bool {
        match self {
            Self::Unusable(_) => true,
            Self::Refused { state, .. } => *state == SqlState::INSUFFICIENT_PRIVILEGE,
            _ => false,
        }
    }
}

impl From<Failure> for StorageError {
    fn from(failure: Failure) -> Self {
        let reason = failure.to_string();
        if failure.is_denied() {
            Self::Denied { storage: KIND, reason }
        } else if let Failure::Damaged { reason, .. } = failure {
            Self::Damaged { storage: KIND, reason }
        } else {
            Self::Unavailable { storage: KIND, reason }
        }
    }
}

impl Failure {
    /// As an error of the lock.
    pub(super) fn of_lock(self, lock: String) -> RegisterError {
        let reason = self.to_string();
        if self.is_denied() {
            RegisterError::Denied { lock, reason }
        } else {
            RegisterError::Unavailable { lock, reason }
        }
    }
}

/// Whether the server says that the statement, and nothing of it, was done. (What ends the session says nothing
/// about that.)
fn is_definite(said: &DbError) -> bool {
    said.parsed_severity() == Some(Severity::Error)
}

/// An error with its causes: the outermost alone says no more than "db error".
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}
