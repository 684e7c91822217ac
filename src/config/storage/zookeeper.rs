//! `storage "zookeeper"` and `ha_storage "zookeeper"`.

use std::time::Duration;

use super::credential::{Credential, credential};
use super::tls::{ClientTls, client_tls};
use crate::config::parse::Context;
use crate::config::section::Section;

/// Where a ZooKeeper ensemble is, and who this node is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZookeeperStorage {
    /// `address`: its servers, `host:port`.
    pub addresses: Vec<String>,
    /// `path`: what all keys begin with.
    pub path: String,
    /// `auth_info`: `scheme:secret`, for example `digest:user:password`.
    pub auth_info: Option<Credential>,
    /// `tls_*`.
    pub tls: ClientTls,
    /// `request_timeout`: how long one request may take.
    pub request_timeout: Duration,
}

/// Reads `storage "zookeeper" { … }`.
pub(super) fn storage(section: &mut Section<'_>, context: &Context<'_>) -> ZookeeperStorage {
    let mut storage = ZookeeperStorage {
        addresses: section.texts("address"),
        path: section.text("path").unwrap_or_else(|| "/vault".to_owned()),
        auth_info: credential(section, "auth_info", context),
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
