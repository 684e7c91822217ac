//! [`Unusable`]: why a storage cannot be used at all, found when it is opened.

use thiserror::Error;

use crate::base::class::ErrorClass;

/// Why a storage cannot be used at all: waiting does not help, a person must change something. (A storage that is away
/// is no such reason: the server starts and waits for it.) The texts are the same for every storage.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unusable {
    /// A file of the configuration cannot be used.
    #[error("{key} {path}: {reason}")]
    File {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting cannot work.
    #[error("{key}: {reason}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// The server's certificate is not one to trust.
    #[error(
        "the certificate of {address} is not trusted: {reason}; name the CA that signed it in tls_ca_file, or its name in tls_server_name"
    )]
    Untrusted {
        /// The server.
        address: String,
        /// What TLS said.
        reason: String,
    },
    /// The server does not speak what was expected at this address.
    #[error("{address} does not answer as {expected} does: {reason}; check address and tls settings")]
    WrongService {
        /// The server.
        address: String,
        /// What was expected.
        expected: &'static str,
        /// What came instead.
        reason: String,
    },
    /// The server does not let this client in.
    #[error("{address} refuses this node: {reason}; check {check}")]
    Refused {
        /// The server.
        address: String,
        /// What it said.
        reason: String,
        /// The settings that say who this node is.
        check: &'static str,
    },
    /// This client may not do what is needed.
    #[error("{address} does not permit {what}: {reason}; grant it, as the page of this storage describes")]
    Forbidden {
        /// The server.
        address: String,
        /// What is needed.
        what: String,
        /// What the server said.
        reason: String,
    },
    /// The server is too old.
    #[error("{address} is version {found}; at least {least} is needed")]
    TooOld {
        /// The server.
        address: String,
        /// Its version.
        found: String,
        /// The oldest that will do.
        least: &'static str,
    },
    /// The server lacks what a person puts there before the first start.
    #[error("{address} is not prepared: {lack}; {change}")]
    Unprepared {
        /// The server.
        address: String,
        /// What it lacks.
        lack: String,
        /// What to do.
        change: &'static str,
    },
    /// The server may lose what it acknowledged.
    #[error("{address} may lose what it has acknowledged: {setting}; {change}")]
    NotDurable {
        /// The server.
        address: String,
        /// The setting that makes it so.
        setting: String,
        /// What to change.
        change: &'static str,
    },
}

impl Unusable {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}
