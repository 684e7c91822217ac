//! [`dial`]: a new connection to a peer, over the cluster's mutual TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::cluster::node_name;
use super::pool::SendError;
use crate::base::tcp;

/// Longest time of a new TCP connection: peers are near.
const CONNECT: Duration = Duration::from_secs(1);
/// Longest time of a TLS handshake.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(2);

/// Connects to the peer at `address`, a URL.
///
/// # Errors
/// Always of the kind that says that nothing was sent; see [`SendError`].
pub(super) async fn dial(
    address: &str,
    client: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, SendError> {
    let (host, port) = host_and_port(address)
        .ok_or_else(|| SendError::NotSent(format!("{address:?} is not the address of a peer")))?;
    let stream = match tokio::time::timeout(CONNECT, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(SendError::Refused(format!("{host}:{port}")));
        }
        Ok(Err(error)) => return Err(SendError::NotSent(format!("{host}:{port}: {error}"))),
        Err(_) => return Err(SendError::NotSent(format!("{host}:{port} did not answer in {CONNECT:?}"))),
    };
    let _ = stream.set_nodelay(true);
    let _ = tcp::end_when_silent(&stream);
    let name = node_name().map_err(|error| SendError::NotSent(error.to_string()))?;
    match tokio::time::timeout(HANDSHAKE, TlsConnector::from(client).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(SendError::NotSent(format!("TLS with {host}:{port}: {error}"))),
        Err(_) => Err(SendError::NotSent(format!("TLS with {host}:{port} took over {HANDSHAKE:?}"))),
    }
}

/// Host and port of a URL such as `https://10.1.2.3:8201`; brackets of IPv6 are taken off.
fn host_and_port(address: &str) -> Option<(String, u16)> {
    let uri: Uri = address.parse().ok()?;
    uri.scheme()?;
    let host = uri.host()?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    Some((host.to_owned(), uri.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_peers_are_read() {
        assert_eq!(host_and_port("https://10.1.2.3:8201"), Some(("10.1.2.3".to_owned(), 8201)));
        assert_eq!(host_and_port("https://[fd00::7]:8201"), Some(("fd00::7".to_owned(), 8201)));
        assert_eq!(
            host_and_port("https://vault-0.vault-internal"),
            Some(("vault-0.vault-internal".to_owned(), 443))
        );
        assert_eq!(host_and_port("nonsense"), None);
    }
}
