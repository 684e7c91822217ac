//! What failures of etcd mean: which answers are certain, and which leave everything open.

use tonic::{Code, Status};

use crate::vault::physical::backend::StorageError;
use crate::vault::physical::unusable::Unusable;

/// The storage as configuration names it.
pub(super) const KIND: &str = "etcd";

/// What [`Answer::LoggedOut`] says of a request without a user.
pub(super) const NAMELESS: &str = "user name is empty";

/// Why no connection could be had.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// A person must change something.
    Unusable(Unusable),
    /// The member is away; it may come back.
    Away(String),
}

impl Trouble {
    /// What happened.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Unusable(unusable) => unusable.to_string(),
            Self::Away(reason) => reason.clone(),
        }
    }
}

/// Why a call has no answer to return.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Nothing was sent: there is no connection, or no login.
    NotSent(Trouble),
    /// It was sent, and what became of it is not known.
    Lost {
        /// The member.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The member answered with an error.
    Answered {
        /// The member.
        address: String,
        /// What the error says.
        answer: Answer,
    },
}

/// What an error of etcd says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Who asks is not known (any more); the request was not looked at. Log in again.
    LoggedOut(String),
    /// Name and password do not fit; the request was not looked at.
    BadLogin(String),
    /// There are no logins here.
    NoLogins,
    /// The user has no right to this. Nothing was done.
    Denied(String),
    /// The transaction has too many operations. Nothing was done.
    TooManyOperations,
    /// The request is too large. Nothing was done.
    TooLarge,
    /// The database is full. The request may have been carried out nevertheless: a member that finds out while it applies
    /// a transaction has applied it.
    NoSpace,
    /// Members disagree on the data.
    Corrupt(String),
    /// This member cannot serve; another one may.
    Elsewhere(String),
    /// Anything else.
    Other(String),
}

impl Answer {
    /// Reads a status that the server sent. Only texts of etcd itself are taken for certain: a proxy's status of the same
    /// code proves nothing.
    pub(super) fn of(status: &Status) -> Self {
        let message = status.message();
        let said = || message.strip_prefix("etcdserver: ").unwrap_or(message).to_owned();
        match (status.code(), message) {
            (Code::Unauthenticated, "etcdserver: invalid auth token")
            | (Code::InvalidArgument, "etcdserver: user name is empty")
            | (Code::InvalidArgument, "etcdserver: revision of auth store is old") => Self::LoggedOut(said()),
            (Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password") => {
                Self::BadLogin(said())
            }
            (Code::FailedPrecondition, "etcdserver: authentication is not enabled") => Self::NoLogins,
            (Code::PermissionDenied, "etcdserver: permission denied") => Self::Denied(said()),
            (Code::InvalidArgument, "etcdserver: too many operations in txn request") => {
                Self::TooManyOperations
            }
            (Code::InvalidArgument, "etcdserver: request is too large") => Self::TooLarge,
            (Code::ResourceExhausted, text) if text.starts_with("grpc: received message larger than max") => {
                Self::TooLarge
            }
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded") => Self::NoSpace,
            (Code::DataLoss, _) => Self::Corrupt(said()),
            (Code::Unavailable, _)
            | (Code::FailedPrecondition, "etcdserver: rpc not supported for learner")
            | (Code::FailedPrecondition, "etcdserver: not capable") => Self::Elsewhere(said()),
            (code, _) => Self::Other(format!("{} ({code:?})", said())),
        }
    }

    /// The text of the answer.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::LoggedOut(text)
            | Self::BadLogin(text)
            | Self::Denied(text)
            | Self::Corrupt(text)
            | Self::Elsewhere(text)
            | Self::Other(text) => text,
            Self::NoLogins => "authentication is not enabled",
            Self::TooManyOperations => "too many operations in txn request",
            Self::TooLarge => "request is too large",
            Self::NoSpace => "database space exceeded",
        }
    }
}

impl Failure {
    /// A failed call to the member at `address`.
    pub(super) fn of(address: &str, status: &Status) -> Self {
        let address = address.to_owned();
        // Only what happened on this side has a cause: the connection broke, or what came could not be read.
        match std::error::Error::source(status) {
            Some(cause) => Self::Lost { address, reason: describe(cause) },
            None => Self::Answered { address, answer: Answer::of(status) },
        }
    }

    /// What happened, for the log; it names the member.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::NotSent(trouble) => trouble.reason(),
            Self::Lost { address, reason } => format!("{address}: {reason}"),
            Self::Answered { address, answer } => format!("{address}: {}", answer.text()),
        }
    }

    /// Whether the credentials or rights of this node are at fault.
    pub(super) fn is_denial(&self) -> bool {
        match self {
            Self::NotSent(Trouble::Unusable(unusable)) => {
                matches!(unusable, Unusable::Refused { .. } | Unusable::Forbidden { .. })
            }
            Self::Answered { answer, .. } => {
                matches!(answer, Answer::Denied(_) | Answer::BadLogin(_) | Answer::LoggedOut(_))
            }
            Self::NotSent(Trouble::Away(_)) | Self::Lost { .. } => false,
        }
    }

    /// Whether a read may succeed when it is asked again at once.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::NotSent(Trouble::Unusable(_)) => false,
            Self::NotSent(Trouble::Away(_)) | Self::Lost { .. } => true,
            Self::Answered { answer, .. } => {
                matches!(answer, Answer::Elsewhere(_) | Answer::Other(_) | Answer::LoggedOut(_))
            }
        }
    }

    /// What a reader is told.
    pub(super) fn into_storage_error(self) -> StorageError {
        let reason = self.reason();
        match self {
            Self::Answered { answer: Answer::Corrupt(_), .. } => damaged(reason),
            _ if self.is_denial() => StorageError::Denied { storage: KIND, reason },
            _ => StorageError::Unavailable { storage: KIND, reason },
        }
    }
}

pub(super) fn damaged(reason: String) -> StorageError {
    StorageError::Damaged { storage: KIND, reason }
}

/// An error with its causes: the outermost alone often says no more than "http2 error".
pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_etcds_own_words_are_certain() {
        let certain = [
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                Answer::Denied("permission denied".into()),
            ),
            (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
                Answer::TooManyOperations,
            ),
            (Code::InvalidArgument, "etcdserver: request is too large", Answer::TooLarge),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Answer::NoSpace),
            (Code::ResourceExhausted, "grpc: received message larger than max (9 vs. 8)", Answer::TooLarge),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                Answer::LoggedOut("invalid auth token".into()),
            ),
        ];
        for (code, message, expected) in certain {
            assert_eq!(Answer::of(&Status::new(code, message)), expected);
        }
        let open = [
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Cancelled, "etcdserver: request canceled"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::PermissionDenied, "grpc-status header missing, mapped from HTTP status code 403"),
            (Code::Unauthenticated, "a proxy wants to know who this is"),
            (Code::ResourceExhausted, "etcdserver: too many requests"),
            (Code::InvalidArgument, "something new"),
            (Code::Unknown, "raft: stopped"),
            (Code::Internal, "Missing response message."),
        ];
        for (code, message) in open {
            let answer = Answer::of(&Status::new(code, message));
            assert!(matches!(answer, Answer::Elsewhere(_) | Answer::Other(_)), "{message}: {answer:?}");
        }
    }
}
