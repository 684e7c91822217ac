//! Addresses of members, as configuration names them.

use http::Uri;

/// A member's address out of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// As messages show it: `https://host:port`.
    pub(super) text: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    /// What its HTTP/2 requests name.
    pub(super) origin: Uri,
}

impl Address {
    /// Reads `http(s)://host[:port]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        let port = uri.port_u16().unwrap_or(2379);
        let text = format!("{}://{host}:{port}", if is_tls { "https" } else { "http" });
        let origin = text.parse().ok()?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { text, host, port, is_tls, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |text: &str| Address::parse(text).map(|a| (a.text, a.host, a.port, a.is_tls));
        let found =
            |text: &str, host: &str, port, is_tls| Some((text.to_owned(), host.to_owned(), port, is_tls));
        assert_eq!(read("https://etcd-0"), found("https://etcd-0:2379", "etcd-0", 2379, true));
        assert_eq!(read("http://[::1]:5"), found("http://[::1]:5", "::1", 5, false));
        assert_eq!(read("etcd-0:2379"), None);
        assert_eq!(read("ftp://etcd-0"), None);
    }
}
