//! `storage "zookeeper"` and `ha_storage "zookeeper"`.

use std::fmt;
use std::time::Duration;

use super::credential::{Credential, credential};
use super::tls::{ClientTls, client_tls};
use crate::config::parse::Context;
use crate::config::problem::Problem;
use crate::config::section::Section;

/// ZooKeeper's usual port.
const PORT: u16 = 2181;
/// Most bytes of a path or of an owner: both are a part of every operation, and a request has a limit.
const TEXT_BYTES: usize = 200;
/// Most servers: an ensemble has three or five, and some observers.
const SERVERS: usize = 64;

/// Where a ZooKeeper ensemble is, and who this node is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZookeeperStorage {
    /// `address`: its servers.
    pub addresses: Vec<ZookeeperServer>,
    /// `path`: the node below which everything lies, such as `/vault`: it begins with a slash and does not end with one.
    pub path: String,
    /// `auth_info`: `scheme:secret`, for example `digest:user:password`.
    pub auth_info: Option<Credential>,
    /// `znode_owner`: `scheme:id`, who alone may touch the nodes that are created. `None`: whoever `auth_info` says
    /// this node is; without it, anyone.
    pub znode_owner: Option<String>,
    /// `tls_enabled`, `tls_*`; `None`: no TLS.
    pub tls: Option<ClientTls>,
    /// `request_timeout`: how long one request may take.
    pub request_timeout: Duration,
}

/// A server of an ensemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZookeeperServer {
    /// Its name or IP address, an IPv6 address without brackets.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
}

impl fmt::Display for ZookeeperServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Reads `storage "zookeeper" { … }`.
pub(super) fn storage(section: &mut Section<'_>, context: &Context<'_>) -> ZookeeperStorage {
    let addresses = addresses(section);
    let path = section.parsed(
        "path",
        "the node below which everything lies, such as /vault: at most 200 printable ASCII characters, no empty part, no part . or .., not / itself and not below /zookeeper",
        path,
    );
    let mut storage = ZookeeperStorage {
        addresses,
        path: path.unwrap_or_else(|| "/vault".to_owned()),
        auth_info: auth_info(section, context),
        znode_owner: section.text_where(
            "znode_owner",
            is_owner,
            "scheme:id of at most 200 characters, such as x509:CN=holdfast or digest:user:hash",
        ),
        tls: tls(section),
        request_timeout: Duration::from_secs(5),
    };
    section.duration(
        "request_timeout",
        Duration::from_millis(100)..=Duration::from_secs(60),
        &mut storage.request_timeout,
    );
    storage
}

fn addresses(section: &mut Section<'_>) -> Vec<ZookeeperServer> {
    let before = section.findings().problems.len();
    let texts = section.texts("address");
    let is_read = section.findings().problems.len() == before;
    if texts.is_empty() && is_read && section.has("address") {
        section
            .conflict("address", "address is empty: name the servers, or remove the key for localhost:2181");
    }
    if texts.len() > SERVERS {
        section.conflict("address", &format!("address names more than {SERVERS} servers"));
    }
    let mut servers = Vec::new();
    for text in texts {
        match server(&text) {
            Some(server) => servers.push(server),
            None => {
                let place = section.place_of("address");
                let expected =
                    "the servers as host:port with commas between them, without scheme and path".to_owned();
                section.report(Problem::BadValue { place, key: "address".to_owned(), value: text, expected });
            }
        }
    }
    if servers.is_empty() {
        servers.push(ZookeeperServer { host: "localhost".to_owned(), port: PORT });
    }
    servers
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn server(text: &str) -> Option<ZookeeperServer> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_v6 = text.starts_with('[');
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || (!is_v6 && !host.chars().all(is_name)) {
        return None;
    }
    let port = port.map_or(Some(PORT), |port| port.parse().ok().filter(|port| *port > 0))?;
    Some(ZookeeperServer { host: host.to_owned(), port })
}

/// The path with a slash in front and none behind.
fn path(text: &str) -> Option<String> {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let is_good = |part: &str| {
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(|b| (0x20..0x7f).contains(&b))
    };
    let is_reserved = inner.split('/').next() == Some("zookeeper");
    let holds = inner.len() < TEXT_BYTES && inner.split('/').all(is_good) && !is_reserved;
    holds.then(|| format!("/{inner}"))
}

fn is_owner(text: &str) -> bool {
    let parts = text.split_once(':');
    let is_known = parts.is_some_and(|(scheme, id)| !scheme.is_empty() && !id.is_empty());
    is_known && text.len() <= TEXT_BYTES && !text.chars().any(char::is_control)
}

fn auth_info(section: &mut Section<'_>, context: &Context<'_>) -> Option<Credential> {
    let credential = credential(section, "auth_info", context)?;
    if let Credential::Text(text) = &credential {
        let parts = text.expose().split_once(':');
        if !parts.is_some_and(|(scheme, secret)| !scheme.is_empty() && !secret.is_empty()) {
            section.conflict(
                "auth_info",
                "auth_info must be scheme:secret, such as digest:user:password, or file:///path or env://NAME of that",
            );
        }
    }
    Some(credential)
}

fn tls(section: &mut Section<'_>) -> Option<ClientTls> {
    let mut is_enabled = false;
    section.flag("tls_enabled", &mut is_enabled);
    let tls = client_tls(section);
    if is_enabled {
        return Some(tls);
    }
    for key in ["tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name"] {
        if section.has(key) {
            section.conflict(
                key,
                &format!(
                    "{key} has no effect without TLS: set tls_enabled = true, and address to the secure port"
                ),
            );
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_a_host_and_a_port() {
        let shown = |text: &str| server(text).map(|server| server.to_string());
        for (text, expected) in [
            ("zk", "zk:2181"),
            ("zk-0.zk:2182", "zk-0.zk:2182"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[::1]", "[::1]:2181"),
            ("[fd00::1]:2182", "[fd00::1]:2182"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["", ":1", "zk:", "zk:0", "zk:70000", "https://zk:1", "zk/x", "::1", "[zk]:1", "[::1]1", "a b"]
        {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn paths_are_brought_to_one_form() {
        for (text, expected) in [("vault/", "/vault"), ("/vault", "/vault"), ("/a/b c/", "/a/b c")] {
            assert_eq!(path(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "/", "//", "/a//b", "/a/../b", "zookeeper/x", "/ü", "/a\n", &"x".repeat(200)] {
            assert_eq!(path(text), None, "{text}");
        }
    }
}
