//! Opens a byte stream to a server: TCP, with TLS if it is wanted, and says what a failure means.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::config::Settings;
use crate::config::ZookeeperServer;
use crate::vault::physical::tls::{client_config, expected_name};
use crate::vault::physical::unusable::Unusable;

/// Why no session came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server is away, or does not serve at the moment.
    Away(String),
    /// Waiting does not help.
    Unusable(Unusable),
}

impl Refusal {
    pub(super) fn into_reason(self) -> String {
        match self {
            Self::Away(reason) => reason,
            Self::Unusable(unusable) => unusable.to_string(),
        }
    }
}

/// Both halves of a stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to `server`. Certificates and keys are read from their files now.
pub(super) async fn open(settings: &Settings, server: &ZookeeperServer) -> Result<Box<dyn Stream>, Refusal> {
    let Some(tls) = &settings.tls else { return Ok(Box::new(tcp(server).await?)) };
    // What is wrong here is told also while the server is away.
    let name = expected_name(tls.server_name.as_deref(), &server.host).map_err(Refusal::Unusable)?;
    let config = client_config(tls, &[]).await.map_err(Refusal::Unusable)?;
    let tcp = tcp(server).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, tcp).await.map_err(|error| meaning(server, &error))?;
    Ok(Box::new(stream))
}

/// Connects to `server` without TLS.
pub(super) async fn tcp(server: &ZookeeperServer) -> Result<TcpStream, Refusal> {
    let stream = TcpStream::connect((server.host.as_str(), server.port))
        .await
        .map_err(|error| Refusal::Away(format!("{server}: {error}")))?;
    // Without effect on what is right: a failure only costs time.
    stream.set_nodelay(true).ok();
    Ok(stream)
}

/// What an error of a stream means. A stream without TLS has only errors that waiting may help against.
pub(super) fn meaning(server: &ZookeeperServer, error: &io::Error) -> Refusal {
    let address = server.to_string();
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    Refusal::Unusable(match tls {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Unusable::Untrusted { address, reason: error.to_string() }
        }
        Some(rustls::Error::AlertReceived(_)) => {
            Unusable::Refused { address, reason: error.to_string(), check: "tls_cert_file and tls_key_file" }
        }
        Some(
            rustls::Error::InvalidMessage(_)
            | rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. }
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::PeerMisbehaved(_),
        ) => {
            let expected = "ZooKeeper over TLS";
            Unusable::WrongService { address, expected, reason: error.to_string() }
        }
        _ => return Refusal::Away(format!("{address}: {error}")),
    })
}
