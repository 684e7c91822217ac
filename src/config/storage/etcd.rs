//! `storage "etcd"` and `ha_storage "etcd"`.

use std::time::Duration;

use super::credential::{Credential, credential};
use super::tls::{ClientTls, client_tls};
use crate::config::parse::Context;
use crate::config::section::Section;

/// Where an etcd cluster is, and who this node is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdStorage {
    /// `address`: URLs of its members, `https://host:2379`.
    pub addresses: Vec<String>,
    /// `path`: what all keys begin with.
    pub path: String,
    /// `username`.
    pub username: Option<String>,
    /// `password`.
    pub password: Option<Credential>,
    /// `tls_*`.
    pub tls: ClientTls,
    /// `request_timeout`: how long one request may take.
    pub request_timeout: Duration,
}

/// Reads `storage "etcd" { … }`.
pub(super) fn storage(section: &mut Section<'_>, context: &Context<'_>) -> EtcdStorage {
    let mut storage = EtcdStorage {
        addresses: section.texts("address"),
        path: section.text("path").unwrap_or_else(|| "/vault/".to_owned()),
        username: section.text("username"),
        password: credential(section, "password", context),
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
