//! TLS with a member: the handshake, and what refusals mean.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::answer::{Trouble, describe};
use crate::vault::physical::tls::{expected_name, last_words};
use crate::vault::physical::unusable::Unusable;

/// What a member that refuses this node looked at.
pub(super) const CERTIFICATE: &str = "tls_cert_file and tls_key_file";

/// Whom to expect at the other end of TLS.
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    /// Instead of the host of the address.
    pub(super) server_name: Option<String>,
}

/// A handshake with the member that `address` names.
pub(super) async fn encrypt(
    address: &Address,
    tls: &Tls,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Trouble> {
    let name = expected_name(tls.server_name.as_deref(), &address.host).map_err(Trouble::Unusable)?;
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    connector.connect(name, stream).await.map_err(|error| refused_by_tls(address, &error))
}

/// What a member has against this node's certificate, if it says so to who only listens.
pub(super) async fn refusal(address: &Address, peer: SocketAddr, tls: &Tls) -> Option<Trouble> {
    let opening = async {
        let stream = TcpStream::connect(peer).await.map_err(|error| refused_by_tls(address, &error))?;
        encrypt(address, tls, stream).await
    };
    let trouble = last_words(opening, |error| refused_by_tls(address, error)).await?;
    matches!(trouble, Trouble::Unusable(_)).then_some(trouble)
}

/// Why a handshake failed.
fn refused_by_tls(address: &Address, error: &std::io::Error) -> Trouble {
    let text = address.text.clone();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let reason = describe(error);
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => {
            Trouble::Unusable(Unusable::Untrusted { address: text, reason })
        }
        Some(rustls::Error::AlertReceived(_)) => {
            Trouble::Unusable(Unusable::Refused { address: text, reason, check: CERTIFICATE })
        }
        Some(_) => Trouble::Unusable(Unusable::WrongService { address: text, expected: "etcd", reason }),
        // A server that speaks no TLS hangs up, as one does that is about to end.
        None => Trouble::Away(format!("{text}: {reason} (does it speak TLS?)")),
    }
}
