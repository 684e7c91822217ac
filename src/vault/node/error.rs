//! Why a server does not start.

use std::net::SocketAddr;

use thiserror::Error;

use super::advertise::AdvertiseError;
use super::backends::OpenError;
use crate::config::Problem;
use crate::vault::core::CoreError;
use crate::vault::http::tls::TlsError;
use crate::vault::seal::SealError;

/// Why a server does not start. Each text says what to change.
#[derive(Debug, Error)]
pub enum NodeError {
    /// An address is taken or not of this host.
    #[error("cannot listen on {address}: {reason}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// No address can be advertised.
    #[error(transparent)]
    Advertise(#[from] AdvertiseError),
    /// Storage or lock cannot be used.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// A certificate is missing or wrong.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A key of the seal cannot be read.
    #[error("seal: {0}")]
    SealKey(Problem),
    /// The seal's settings are wrong.
    #[error("seal: {0}")]
    Seal(#[from] SealError),
    /// `server -dev` could not make its vault.
    #[error("the development vault cannot be made: {0}")]
    Development(CoreError),
    /// The signals of the end cannot be listened for.
    #[error("signals cannot be listened for: {0}")]
    Signals(String),
    /// Standard output is closed.
    #[error("the start message cannot be written: {0}")]
    Output(String),
}
