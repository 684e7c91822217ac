//! The addresses that a node tells others: a pure function of settings and what the host has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;
use thiserror::Error;

/// What the choice depends on.
#[derive(Debug, Clone, Default)]
pub struct Known<'a> {
    /// The API address that the environment gives, with the name of its variable.
    pub environment: Option<(&'a str, &'a str)>,
    /// `api_addr` of the configuration.
    pub configured: Option<&'a str>,
    /// The cluster address that the environment gives.
    pub cluster_environment: Option<&'a str>,
    /// `cluster_addr` of the configuration.
    pub cluster_configured: Option<&'a str>,
    /// `POD_IP`.
    pub pod_ip: Option<&'a str>,
    /// What listeners bind, in order; ports are those really bound.
    pub listeners: Vec<Bound>,
    /// Addresses of the host, for the last resort.
    pub host: Vec<IpAddr>,
    /// Whether other nodes may use the same storage.
    pub is_ha: bool,
}

/// A listener as it is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// For clients.
    pub api: SocketAddr,
    /// For peers.
    pub cluster: SocketAddr,
    /// Whether clients speak TLS.
    pub tls: bool,
}

/// What a node tells others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// URL for clients.
    pub api: String,
    /// URL for peers.
    pub cluster: String,
    /// What a person should know about it.
    pub warning: Option<String>,
}

/// Why there is no address to advertise.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdvertiseError {
    /// Not a URL with a host.
    #[error("{source_name} = {value:?} is not a URL such as https://10.1.2.3:8200")]
    NotUrl {
        /// Where it stands.
        source_name: String,
        /// What stands there.
        value: String,
    },
    /// Nobody else can connect to it.
    #[error(
        "{source_name} = {value:?} cannot be advertised: other nodes and clients cannot connect to it; set VAULT_API_ADDR or api_addr to an address that they reach"
    )]
    Unreachable {
        /// Where it stands.
        source_name: String,
        /// The address.
        value: String,
    },
    /// API and cluster address are the same.
    #[error("the API address and the cluster address are both {0:?}: give them different ports")]
    Same(String),
    /// Nothing suitable was found.
    #[error(
        "no address to advertise was found: set VAULT_API_ADDR or api_addr to the URL that clients and other nodes reach this one at"
    )]
    None,
}

struct Choice {
    url: String,
    source_name: String,
    /// The host came from this machine, so the cluster listener's own port belongs beside it.
    is_own: bool,
}

/// Chooses the addresses: environment, then configuration, then `POD_IP`, then the one address that the listener binds,
/// then the first private address of the host.
///
/// # Errors
/// See [`AdvertiseError`].
pub fn advertise(known: &Known<'_>) -> Result<Advertised, AdvertiseError> {
    let api = choose(known)?;
    let warning = check(&api.url, &api.source_name, known)?;
    let cluster = choose_cluster(known, &api)?;
    let cluster_warning = check(&cluster.url, &cluster.source_name, known)?;
    if cluster.url.split("://").last() == api.url.split("://").last() {
        return Err(AdvertiseError::Same(api.url));
    }
    Ok(Advertised { api: api.url, cluster: cluster.url, warning: warning.or(cluster_warning) })
}

fn choose(known: &Known<'_>) -> Result<Choice, AdvertiseError> {
    let given = known.environment.or_else(|| Some((known.configured?, "api_addr")));
    if let Some((value, name)) = given {
        let (scheme, host, port) = parts(value).ok_or_else(|| AdvertiseError::NotUrl {
            source_name: name.to_owned(),
            value: value.to_owned(),
        })?;
        let scheme = scheme.unwrap_or_else(|| scheme_of(known).to_owned());
        return Ok(Choice { url: url(&scheme, &host, port), source_name: name.to_owned(), is_own: false });
    }
    let first = known.listeners.first().ok_or(AdvertiseError::None)?;
    let own = |ip: IpAddr, source: &str| Choice {
        url: url(scheme_of(known), &host_text(ip), Some(first.api.port())),
        source_name: source.to_owned(),
        is_own: true,
    };
    if let Some(text) = known.pod_ip {
        let ip = text.parse().map_err(|_| AdvertiseError::NotUrl {
            source_name: "POD_IP".to_owned(),
            value: text.to_owned(),
        })?;
        return Ok(own(ip, "POD_IP"));
    }
    if !first.api.ip().is_unspecified() {
        return Ok(own(first.api.ip(), "the listener's address"));
    }
    private(&known.host).map(|ip| own(ip, "the host's address")).ok_or(AdvertiseError::None)
}

fn choose_cluster(known: &Known<'_>, api: &Choice) -> Result<Choice, AdvertiseError> {
    let given = known
        .cluster_environment
        .map(|value| (value, "VAULT_CLUSTER_ADDR"))
        .or_else(|| Some((known.cluster_configured?, "cluster_addr")));
    let (value, name) = given.unwrap_or((&api.url, &api.source_name));
    let not_url = || AdvertiseError::NotUrl { source_name: name.to_owned(), value: value.to_owned() };
    let (_, host, port) = parts(value).ok_or_else(not_url)?;
    let own_port = known.listeners.first().map(|listener| listener.cluster.port());
    let port = match given {
        Some(_) => port.or(own_port),
        None if api.is_own => own_port,
        None => Some(port.unwrap_or(443).checked_add(1).ok_or_else(not_url)?),
    };
    Ok(Choice { url: url("https", &host, port), source_name: name.to_owned(), is_own: api.is_own })
}

/// Refuses what nobody else can reach; a warning where everybody is on this machine.
fn check(url: &str, source_name: &str, known: &Known<'_>) -> Result<Option<String>, AdvertiseError> {
    if !known.is_ha {
        return Ok(None);
    }
    let Some((_, host, _)) = parts(url) else { return Ok(None) };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let ip = bare.parse::<IpAddr>().ok();
    let unreachable =
        || AdvertiseError::Unreachable { source_name: source_name.to_owned(), value: url.to_owned() };
    if ip.is_some_and(|ip| ip.is_unspecified()) {
        return Err(unreachable());
    }
    if ip.is_some_and(|ip| ip.is_loopback()) || bare == "localhost" {
        let all_loopback = known.listeners.iter().all(|listener| listener.api.ip().is_loopback());
        if !all_loopback {
            return Err(unreachable());
        }
        return Ok(Some(format!(
            "{url} is advertised: only nodes and clients on this machine can connect to it"
        )));
    }
    Ok(None)
}

fn scheme_of(known: &Known<'_>) -> &'static str {
    if known.listeners.first().is_some_and(|listener| listener.tls) { "https" } else { "http" }
}

/// Scheme, host (with the brackets of IPv6) and port of a URL or `host:port`.
fn parts(value: &str) -> Option<(Option<String>, String, Option<u16>)> {
    let uri: Uri = value.trim_end_matches('/').parse().ok()?;
    let has_scheme = value.contains("://");
    if has_scheme && !matches!(uri.scheme_str(), Some("http" | "https")) {
        return None;
    }
    if has_scheme
        && !matches!(uri.path_and_query().map(http::uri::PathAndQuery::as_str), None | Some("" | "/"))
    {
        return None;
    }
    let host = uri.host().filter(|host| !host.is_empty())?;
    Some((
        has_scheme.then(|| uri.scheme_str().unwrap_or_default().to_owned()),
        host.to_owned(),
        uri.port_u16(),
    ))
}

fn url(scheme: &str, host: &str, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

fn host_text(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// The first private IPv4 address, else the first unique local IPv6 address.
fn private(host: &[IpAddr]) -> Option<IpAddr> {
    let v4 = host.iter().find(|ip| matches!(ip, IpAddr::V4(v4) if v4.is_private()));
    let v6 = || host.iter().find(|ip| matches!(ip, IpAddr::V6(v6) if v6.is_unique_local()));
    v4.or_else(v6).copied()
}

/// Addresses in the tables of the kernel: `/proc/net/fib_trie` for IPv4, `/proc/net/if_inet6` for IPv6.
pub(super) fn host_addresses(fib_trie: &str, if_inet6: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in fib_trie.lines() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("|-- ") {
            last = text.parse().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(ip) = last.take()
            && !found.contains(&IpAddr::V4(ip))
        {
            found.push(IpAddr::V4(ip));
        }
    }
    for line in if_inet6.lines() {
        let bytes = line.split_whitespace().next().and_then(crate::base::id::unhex);
        if let Some(octets) = bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()) {
            found.push(IpAddr::V6(Ipv6Addr::from(octets)));
        }
    }
    found
}

#[cfg(test)]
mod tests;
