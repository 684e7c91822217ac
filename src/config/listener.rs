//! `listener "tcp"`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use super::{DEFAULT_PORT, Problem};

/// A socket on which clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// The address to bind.
    pub address: SocketAddr,
    /// The address to bind for peers; by default the next port.
    pub cluster_address: SocketAddr,
    /// Where the certificate comes from.
    pub tls: ListenerTls,
    /// Lowest TLS version.
    pub tls_min_version: TlsVersion,
    /// CA certificates of clients; if set, clients may present a certificate signed by one of them.
    pub tls_client_ca_file: Option<PathBuf>,
    /// Whether a client without such a certificate is refused.
    pub tls_require_client_cert: bool,
    /// Largest body of a request.
    pub max_request_size_bytes: u64,
    /// Longest time that a request may take.
    pub max_request_duration: Duration,
    /// Longest time until the headers of a request have arrived.
    pub http_read_header_timeout: Duration,
    /// Longest time until the whole request has arrived.
    pub http_read_timeout: Duration,
    /// Longest time that a connection may stay open without a request.
    pub http_idle_timeout: Duration,
    /// Whether `sys/generate-root` is refused here.
    pub disable_unauthed_generate_root: bool,
    /// Whether `sys/rekey` and `sys/rekey-recovery-key` are refused here.
    pub disable_unauthed_rekey: bool,
}

/// Where the certificate of a listener comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerTls {
    /// No TLS (`tls_disable = true`).
    Disabled,
    /// PEM files, read again when they change.
    Files {
        /// Certificate chain.
        cert_file: PathBuf,
        /// Private key.
        key_file: PathBuf,
    },
    /// A folder with an issuer (`tls.crt`, `tls.key`, `ca.crt`) from which the server mints its own certificate,
    /// its pod's IP included.
    Issuer {
        /// The folder.
        dir: PathBuf,
        /// DNS names of the certificate besides `localhost` and the pod's.
        dns_names: Vec<String>,
    },
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl ListenerConfig {
    /// A listener without TLS where everything else is at its default.
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            cluster_address: next_port(address),
            tls: ListenerTls::Disabled,
            tls_min_version: TlsVersion::Tls12,
            tls_client_ca_file: None,
            tls_require_client_cert: false,
            max_request_size_bytes: 32 << 20,
            max_request_duration: Duration::from_secs(90),
            http_read_header_timeout: Duration::from_secs(10),
            http_read_timeout: Duration::from_secs(30),
            http_idle_timeout: Duration::from_secs(300),
            disable_unauthed_generate_root: false,
            disable_unauthed_rekey: false,
        }
    }
}

/// The address with the next port, where peers connect.
fn next_port(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), if address.port() == 0 { 0 } else { address.port().saturating_add(1) })
}

/// Reads `listener "tcp" { … }`.
pub(super) fn listener(section: &mut Section<'_>) -> ListenerConfig {
    let expected = "an address such as 127.0.0.1:8200 or [::]:8200";
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
    let address =
        section.parsed("address", expected, |text| socket_address(text, DEFAULT_PORT)).unwrap_or(default);
    let mut listener = ListenerConfig::plain(address);
    let cluster_port = listener.cluster_address.port();
    if let Some(given) =
        section.parsed("cluster_address", expected, |text| socket_address(text, cluster_port))
    {
        if given == address && given.port() != 0 {
            section.conflict(
                "cluster_address",
                "address and cluster_address are the same: give them different ports",
            );
        }
        listener.cluster_address = given;
    }
    let version = section.parsed("tls_min_version", "tls12 or tls13", |text| match text {
        "tls12" => Some(TlsVersion::Tls12),
        "tls13" => Some(TlsVersion::Tls13),
        _ => None,
    });
    listener.tls_min_version = version.unwrap_or(TlsVersion::Tls12);
    listener.tls = tls(section);
    listener.tls_client_ca_file = section.text("tls_client_ca_file").map(PathBuf::from);
    section.flag("tls_require_and_verify_client_cert", &mut listener.tls_require_client_cert);
    if listener.tls_require_client_cert && listener.tls_client_ca_file.is_none() {
        let message =
            "tls_require_and_verify_client_cert needs tls_client_ca_file, the CAs that clients may come from";
        section.conflict("tls_require_and_verify_client_cert", message);
    }
    section.number("max_request_size", 1..=1 << 30, &mut listener.max_request_size_bytes);
    let hour = Duration::from_secs(3600);
    let second = Duration::from_secs(1);
    section.duration("max_request_duration", second..=hour, &mut listener.max_request_duration);
    section.duration("http_read_header_timeout", second..=hour, &mut listener.http_read_header_timeout);
    section.duration("http_read_timeout", second..=hour, &mut listener.http_read_timeout);
    section.duration("http_idle_timeout", second..=hour * 24, &mut listener.http_idle_timeout);
    section.flag("disable_unauthed_generate_root_endpoints", &mut listener.disable_unauthed_generate_root);
    section.flag("disable_unauthed_rekey_endpoints", &mut listener.disable_unauthed_rekey);
    listener
}

fn tls(section: &mut Section<'_>) -> ListenerTls {
    let mut disabled = false;
    section.flag("tls_disable", &mut disabled);
    let cert_file = section.text("tls_cert_file").map(PathBuf::from);
    let key_file = section.text("tls_key_file").map(PathBuf::from);
    let issuer = section.text("tls_issuer_dir").map(PathBuf::from);
    let dns_names = section.texts("tls_issuer_dns_names");
    match (disabled, cert_file, key_file, issuer) {
        (true, None, None, None) => return ListenerTls::Disabled,
        (false, Some(cert_file), Some(key_file), None) => return ListenerTls::Files { cert_file, key_file },
        (false, None, None, Some(dir)) => return ListenerTls::Issuer { dir, dns_names },
        (true, ..) => section
            .conflict("tls_disable", "TLS is disabled and a certificate is given: remove one of the two"),
        (false, None, None, None) => section.report(Problem::Missing {
            place: section.place(),
            section: section.name().to_owned(),
            what:
                "a certificate: set tls_cert_file and tls_key_file, or tls_issuer_dir, or tls_disable = true"
                    .to_owned(),
        }),
        (false, _, _, Some(_)) => {
            section.conflict(
                "tls_issuer_dir",
                "tls_issuer_dir and tls_cert_file exclude each other: remove one of the two",
            );
        }
        (false, Some(_), None, None) => {
            section.conflict("tls_cert_file", "tls_cert_file needs tls_key_file beside it")
        }
        (false, None, Some(_), None) => {
            section.conflict("tls_key_file", "tls_key_file needs tls_cert_file beside it")
        }
    }
    ListenerTls::Disabled
}

/// Reads `host:port`, `host`, `:port`, with an IP address or `localhost` as the host; no host is every address.
pub(super) fn socket_address(text: &str, default_port: u16) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, default_port));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, default_port),
    };
    let ip = match host {
        "" if text.starts_with(':') => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        "localhost" => IpAddr::from(Ipv4Addr::LOCALHOST),
        "ip6-localhost" => IpAddr::from(Ipv6Addr::LOCALHOST),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}
