//! Why a call did not succeed.

use thiserror::Error;

use crate::base::class::ErrorClass;

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// Address, token, path or another input cannot be used.
    #[error("{what} cannot be used: {reason}")]
    Input {
        /// What it is.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// CA certificates cannot be read.
    #[error("CA certificates cannot be used: {reason}")]
    Trust {
        /// Why.
        reason: String,
    },
    /// No connection, or it broke before the answer.
    #[error("{method} {url}: {reason}")]
    Unreachable {
        /// The method.
        method: String,
        /// The address called.
        url: String,
        /// What happened.
        reason: String,
        /// Whether it is certain that the server saw nothing of the request.
        unsent: bool,
    },
    /// No answer in time; the request may have been carried out.
    #[error("{method} {url}: no answer within {seconds} s")]
    TimedOut {
        /// The method.
        method: String,
        /// The address called.
        url: String,
        /// The limit.
        seconds: u64,
    },
    /// The answer is not what the API says.
    #[error("{method} {url}: the answer is not understood: {reason}")]
    NotUnderstood {
        /// The method.
        method: String,
        /// The address called.
        url: String,
        /// Why.
        reason: String,
    },
    /// A redirect that must not be followed.
    #[error("{url} redirects to {location:?}, which is not followed: {reason}")]
    Redirect {
        /// The address called.
        url: String,
        /// Where it points.
        location: String,
        /// Why not.
        reason: &'static str,
    },
    /// The server answered with an error.
    #[error("{}", refusal(method, url, *status, errors))]
    Refused {
        /// The method.
        method: String,
        /// The address called.
        url: String,
        /// The status code.
        status: u16,
        /// What the server says.
        errors: Vec<String>,
    },
}

/// Vault's own text of an error answer.
fn refusal(method: &str, url: &str, status: u16, errors: &[String]) -> String {
    let mut text = format!("Error making API request.\n\nURL: {method} {url}\nCode: {status}.");
    if errors.is_empty() {
        return text;
    }
    text.push_str(" Errors:\n");
    for error in errors {
        text.push_str(&format!("\n* {error}"));
    }
    text
}

impl ClientError {
    /// The status code, if the server answered.
    pub fn status(&self) -> Option<u16> {
        if let Self::Refused { status, .. } = self { Some(*status) } else { None }
    }

    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Input { .. } | Self::Trust { .. } | Self::Redirect { .. } => ErrorClass::Invalid,
            Self::Unreachable { unsent: false, .. } | Self::TimedOut { .. } => ErrorClass::Unknown,
            Self::Unreachable { .. } => ErrorClass::Unavailable,
            Self::NotUnderstood { .. } => ErrorClass::Internal,
            Self::Refused { status, .. } => match status {
                400 | 422 => ErrorClass::Invalid,
                401 | 403 => ErrorClass::Denied,
                404 => ErrorClass::NotFound,
                405 => ErrorClass::Unsupported,
                409 | 412 => ErrorClass::Conflict,
                413 => ErrorClass::TooLarge,
                429 | 501..=599 => ErrorClass::Unavailable,
                _ => ErrorClass::Internal,
            },
        }
    }
}
