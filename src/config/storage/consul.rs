//! `storage "consul"` and `ha_storage "consul"`.

use std::time::Duration;

use super::credential::{Credential, credential};
use super::tls::{ClientTls, client_tls};
use crate::config::env;
use crate::config::parse::Context;
use crate::config::problem::Problem;
use crate::config::section::Section;

/// Most bytes of the path: it is part of every key.
const PATH_BYTES: usize = 256;
/// What an address must be.
const ADDRESS: &str =
    "the address of a Consul agent such as 127.0.0.1:8500 or https://consul.example:8501, without a path";

/// Where a Consul cluster is, and who this node is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulStorage {
    /// `address`: URLs of agents of one cluster, `https://host:8501`, always with a port; the first one that answers
    /// is used.
    pub addresses: Vec<String>,
    /// `path`: what all keys begin with; it ends with a slash and does not begin with one.
    pub path: String,
    /// `token`: the ACL token.
    pub token: Option<Credential>,
    /// `tls_*`.
    pub tls: ClientTls,
    /// `request_timeout`: how long one request may take.
    pub request_timeout: Duration,
}

/// Reads `storage "consul" { … }`.
pub(super) fn storage(section: &mut Section<'_>, context: &Context<'_>) -> ConsulStorage {
    let scheme = section.text_where("scheme", |text| matches!(text, "http" | "https"), "http or https");
    let token = credential(section, "token", context)
        .or_else(|| context.environment.referenced(env::CONSUL_HTTP_TOKEN.name).map(Credential::Text));
    let mut storage = ConsulStorage {
        addresses: addresses(section, context, scheme.as_deref().unwrap_or("http")),
        path: section.parsed("path", PATH, path).unwrap_or_else(|| "vault/".to_owned()),
        token,
        tls: client_tls(section),
        request_timeout: Duration::from_secs(5),
    };
    section.duration(
        "request_timeout",
        Duration::from_millis(100)..=Duration::from_secs(60),
        &mut storage.request_timeout,
    );
    let mode = section.text_where(
        "consistency_mode",
        |text| matches!(text, "strong" | "default"),
        "strong, which is always used",
    );
    if mode.as_deref() == Some("default") {
        section.warn("consistency_mode", "consistency_mode is ignored: every read is consistent (strong)");
    }
    if storage.addresses.iter().all(|address| address.starts_with("http://"))
        && storage.tls != ClientTls::default()
        && !storage.addresses.is_empty()
    {
        let key = ["tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name"];
        let key = key.into_iter().find(|key| section.has(key)).unwrap_or("tls_ca_file");
        section.conflict(
            key,
            &format!(
                "{key} has no effect on an address without TLS: write scheme = \"https\" or an address that begins with https://"
            ),
        );
    }
    storage
}

/// The addresses of the configuration, else of the environment, else the agent of this host.
fn addresses(section: &mut Section<'_>, context: &Context<'_>, scheme: &str) -> Vec<String> {
    let given = section.texts("address");
    if section.has("address") {
        if given.is_empty() {
            section
                .conflict("address", "address is empty: name an agent, or remove the key for 127.0.0.1:8500");
        }
        let mut read = Vec::new();
        for text in &given {
            match address(text, scheme) {
                Some(url) => read.push(url),
                // The text is not shown: it may hold a password.
                None => section.conflict("address", &format!("one of the texts in address is not {ADDRESS}")),
            }
        }
        return read;
    }
    let text = context.environment.get(env::CONSUL_HTTP_ADDR);
    let name = env::CONSUL_HTTP_ADDR.name;
    match text {
        None => vec![format!("{scheme}://127.0.0.1:8500")],
        Some(text) => match address(&text, scheme) {
            Some(url) => vec![url],
            None => {
                // A password would stand before an @.
                let value = if text.contains('@') { "user:password@…".to_owned() } else { text };
                section.report(Problem::BadVariable { name, value, expected: ADDRESS });
                Vec::new()
            }
        },
    }
}

/// An address as a URL with a port.
fn address(text: &str, scheme: &str) -> Option<String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
    let uri: http::Uri = url.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let is_bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    if authority.host().is_empty() || !is_bare {
        return None;
    }
    let usual = if scheme == "https" { 8501 } else { 8500 };
    // A port that is not one reads as none at all.
    let port = match uri.port() {
        Some(port) => Some(port.as_u16()),
        None => (authority.as_str() == authority.host()).then_some(usual),
    };
    Some(format!("{scheme}://{}:{}", authority.host(), port.filter(|port| *port != 0)?))
}

const PATH: &str = "what keys begin with, such as vault/: names of printable characters with one slash between them, at most 256 bytes";

/// A path with a slash at its end and none at its beginning.
fn path(text: &str) -> Option<String> {
    let text = text.strip_prefix('/').unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.chars().any(char::is_control);
    (text.len() < PATH_BYTES && text.split('/').all(is_name)).then(|| format!("{text}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_scheme_and_port() {
        for (text, scheme, url) in [
            ("127.0.0.1:8500", "http", Some("http://127.0.0.1:8500")),
            ("127.0.0.1", "http", Some("http://127.0.0.1:8500")),
            ("consul", "https", Some("https://consul:8501")),
            ("https://consul.example/", "http", Some("https://consul.example:8501")),
            ("http://consul:80", "https", Some("http://consul:80")),
            ("[fd00::7]:8500", "http", Some("http://[fd00::7]:8500")),
            ("[fd00::7]", "http", Some("http://[fd00::7]:8500")),
            ("unix:///run/consul.sock", "http", None),
            ("http://user:pw@consul", "http", None),
            ("http://consul/v1", "http", None),
            ("consul:", "http", None),
            ("consul:0", "http", None),
            ("consul:99999", "http", None),
            ("", "http", None),
        ] {
            assert_eq!(address(text, scheme).as_deref(), url, "{text:?}");
        }
    }

    #[test]
    fn paths_end_with_a_slash_and_do_not_begin_with_one() {
        for (text, expected) in [
            ("vault", Some("vault/")),
            ("/vault/", Some("vault/")),
            ("team a/vault", Some("team a/vault/")),
            ("", None),
            ("/", None),
            ("a//b", None),
            ("a/../b", None),
            ("a/./b", None),
            ("a\nb", None),
        ] {
            assert_eq!(path(text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(path(&"p".repeat(PATH_BYTES)), None);
    }
}
