//! Binding and serving: the sockets of clients, peers and probes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

use super::advertise::Bound;
use super::error::NodeError;
use crate::base::task::{self, Shutdown};
use crate::config::{ListenerConfig, ListenerTls, PodEnvironment, ServerConfig, TlsVersion};
use crate::vault::http::listen::{Drain, ListenLimits, Listener, ListenerTlsSource};
use crate::vault::http::serve::{self, Api, RequestLimits, Staleness};
use crate::vault::http::tls::{CertificateSource, ListenerCertificate, TlsSettings};

/// The bound sockets of one listener.
pub(super) struct Sockets {
    config: ListenerConfig,
    api: TcpListener,
    /// `None` if there are no peers to speak with.
    cluster: Option<TcpListener>,
    /// Where they are bound.
    pub(super) bound: Bound,
}

/// Binds everything that `config` lists; the sockets for peers only if there may be peers.
pub(super) fn bind(config: &ServerConfig, has_peers: bool) -> Result<Vec<Sockets>, NodeError> {
    let mut all = Vec::new();
    for listener in &config.listeners {
        let api = socket(listener.address)?;
        let api_address = local(&api, listener.address)?;
        let (cluster, cluster_address) = if !has_peers {
            (None, listener.cluster_address)
        } else {
            let socket = socket(listener.cluster_address)?;
            let address = local(&socket, listener.cluster_address)?;
            (Some(socket), address)
        };
        let tls = listener.tls != ListenerTls::Disabled;
        all.push(Sockets {
            config: listener.clone(),
            api,
            cluster,
            bound: Bound { api: api_address, cluster: cluster_address, tls },
        });
    }
    Ok(all)
}

/// Connections that may wait to be accepted; the system's own limit (`net.core.somaxconn`) counts as well. Of those above
/// it the first packet is lost, and the client tries again a second later: the 128 of the library are not enough for what
/// comes while a process is frozen, or right after a leader change.
const BACKLOG: u32 = 4096;

/// Binds one socket.
pub(super) fn socket(address: SocketAddr) -> Result<TcpListener, NodeError> {
    open(address).map_err(|error| NodeError::Bind { address, reason: error.to_string() })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that is started again need not wait for connections of the one before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Where a socket is really bound: port 0 becomes a real one.
pub(super) fn local(socket: &TcpListener, address: SocketAddr) -> Result<SocketAddr, NodeError> {
    socket.local_addr().map_err(|error| NodeError::Bind { address, reason: error.to_string() })
}

/// What serving needs besides sockets.
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a ServerConfig,
    pub(super) api: &'a Arc<Api>,
    /// Connections of clients.
    pub(super) drain: &'a Drain,
    /// Connections of peers: they end with the process.
    pub(super) peers: &'a Drain,
    pub(super) shutdown: &'a Shutdown,
}

/// Reads or mints certificates and starts to serve.
pub(super) async fn serve(sockets: Vec<Sockets>, around: &Surroundings<'_>) -> Result<(), NodeError> {
    let lifecycle = &around.api.lifecycle;
    for one in sockets {
        let config = &one.config;
        let tls = match source(config, &one.bound, &around.config.pod) {
            None => ListenerTlsSource::Plain,
            Some(source) => {
                let settings = TlsSettings {
                    source,
                    only_tls13: config.tls_min_version == TlsVersion::Tls13,
                    client_ca: config.tls_client_ca_file.clone(),
                    require_client_cert: config.tls_require_client_cert,
                };
                let certificate =
                    ListenerCertificate::prepare(settings, lifecycle.clock.unix(), &*lifecycle.random)
                        .await?;
                let server = Arc::clone(&certificate.config);
                let fresh = certificate.keep_fresh(
                    Arc::clone(&lifecycle.clock),
                    Arc::clone(&lifecycle.random),
                    around.shutdown.clone(),
                );
                task::spawn("listener certificate", fresh);
                ListenerTlsSource::Fixed(server)
            }
        };
        let limits = RequestLimits {
            body_bytes: usize::try_from(config.max_request_size_bytes).unwrap_or(usize::MAX),
            read: config.http_read_timeout,
            duration: config.max_request_duration,
            staleness: Staleness {
                default_ms: millis(around.config.ha.max_staleness),
                limit_ms: millis(around.config.ha.staleness_limit),
            },
            no_generate_root: config.disable_unauthed_generate_root,
            no_rekey: config.disable_unauthed_rekey,
        };
        let listener = Listener {
            socket: one.api,
            tls,
            limits: ListenLimits {
                headers: config.http_read_header_timeout,
                idle: config.http_idle_timeout,
                ..ListenLimits::default()
            },
            drain: around.drain.clone(),
        };
        let routes = serve::client_routes(Arc::clone(around.api), limits);
        task::spawn("listener", listener.run(move |request| serve::answer(routes.clone(), request)));
        if let Some(socket) = one.cluster {
            let routes = serve::peer_routes(Arc::clone(around.api));
            let listener = Listener {
                socket,
                tls: ListenerTlsSource::Cluster {
                    tls: Arc::clone(&lifecycle.cluster_tls),
                    ha: Arc::clone(&lifecycle.ha),
                },
                // Peers keep connections ready for the moment when they need them.
                limits: ListenLimits { idle: Duration::from_secs(3600), ..ListenLimits::default() },
                drain: around.peers.clone(),
            };
            task::spawn(
                "cluster listener",
                listener.run(move |request| serve::answer(routes.clone(), request)),
            );
        }
    }
    Ok(())
}

fn source(config: &ListenerConfig, bound: &Bound, pod: &PodEnvironment) -> Option<CertificateSource> {
    match &config.tls {
        ListenerTls::Disabled => None,
        ListenerTls::Files { cert_file, key_file } => {
            Some(CertificateSource::Files { cert: cert_file.clone(), key: key_file.clone() })
        }
        ListenerTls::Issuer { dir, dns_names } => {
            let mut names = vec!["localhost".to_owned()];
            names.extend(pod.name.iter().cloned());
            names.extend(dns_names.iter().cloned());
            let mut addresses: Vec<IpAddr> =
                vec![[127, 0, 0, 1].into(), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)];
            addresses.extend(pod.ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()));
            if !bound.api.ip().is_unspecified() {
                addresses.push(bound.api.ip());
            }
            names.dedup();
            addresses.sort_unstable();
            addresses.dedup();
            Some(CertificateSource::Issuer { dir: dir.clone(), dns_names: names, ip_addresses: addresses })
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::future::try_join_all;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn hundreds_of_connections_wait_to_be_accepted() {
        let listener = socket("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        // What does not fit is never connected, since nothing is ever accepted.
        let connections = try_join_all((0..300).map(|_| TcpStream::connect(address)));
        let connected = tokio::time::timeout(Duration::from_secs(20), connections).await;
        assert_eq!(connected.expect("all wait").unwrap().len(), 300);
    }
}
