//! Where the agents are, and under which keys everything lies.

use std::time::Duration;

use crate::config::{ClientTls, ConsulStorage, Credential};
use crate::vault::physical::head::BatchId;
use crate::vault::physical::wire;

/// The storage as configuration names it.
pub(super) const KIND: &str = "consul";
/// The name of the lock's key.
pub(super) const LOCK: &str = "lock";

/// An agent's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// As a URL, for messages.
    pub(super) url: String,
    /// Host, without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// `host:port`, as a request names it.
    pub(super) authority: String,
    pub(super) is_tls: bool,
}

impl Address {
    /// Reads a URL as the configuration leaves it; `None` if it is none.
    pub(super) fn read(url: &str) -> Option<Self> {
        let (scheme, authority) = url.trim_end_matches('/').split_once("://")?;
        let (host, port) = authority.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        Some(Self {
            url: url.to_owned(),
            host: host.to_owned(),
            port: port.parse().ok()?,
            authority: authority.to_owned(),
            is_tls: scheme == "https",
        })
    }
}

/// How to reach Consul.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) addresses: Vec<Address>,
    pub(super) token: Option<Credential>,
    pub(super) tls: ClientTls,
    pub(super) request_timeout: Duration,
}

impl Settings {
    pub(super) fn new(config: &ConsulStorage) -> Self {
        Self {
            addresses: config.addresses.iter().filter_map(|url| Address::read(url)).collect(),
            token: config.token.clone(),
            tls: config.tls.clone(),
            request_timeout: config.request_timeout,
        }
    }
}

/// The keys of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// What all keys begin with; it ends with a slash.
    pub(super) path: String,
}

impl Layout {
    pub(super) fn head(&self) -> String {
        format!("{}head", self.path)
    }

    /// The mark of the head that a batch made: it is there exactly as long as that head is.
    pub(super) fn mark(&self, batch: BatchId) -> String {
        format!("{}mark/{batch}", self.path)
    }

    /// A record of the journal.
    pub(super) fn record(&self, seq: u64) -> String {
        format!("{}journal/{}", self.path, wire::seq_text(seq))
    }

    /// What the keys of data begin with.
    pub(super) fn data(&self) -> String {
        format!("{}data/", self.path)
    }

    pub(super) fn lock(&self) -> String {
        format!("{}{LOCK}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let address = Address::read("https://[fd00::7]:8501").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.is_tls), ("fd00::7", 8501, true));
        assert_eq!(address.authority, "[fd00::7]:8501");
        let address = Address::read("http://consul.example:8500").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.is_tls), ("consul.example", 8500, false));
        assert_eq!(Address::read("consul.example"), None);
    }
}
