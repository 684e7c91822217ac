//! `storage "consul"` and `ha_storage "consul"`.

use std::time::Duration;

use super::credential::{Credential, credential};
use super::tls::{ClientTls, client_tls};
use crate::config::parse::Context;
use crate::config::section::Section;

/// Where a Consul cluster is, and who this node is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulStorage {
    /// `address`: URLs of its members, `https://host:8501`.
    pub addresses: Vec<String>,
    /// `path`: what all keys begin with.
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
    let mut storage = ConsulStorage {
        addresses: section.texts("address"),
        path: section.text("path").unwrap_or_else(|| "vault/".to_owned()),
        token: credential(section, "token", context),
        tls: client_tls(section),
        request_timeout: Duration::from_secs(5),
    };
    section.duration(
        "request_timeout",
        Duration::from_millis(100)..=Duration::from_secs(60),
        &mut storage.request_timeout,
    );
    storage
}
