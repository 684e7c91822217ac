//! `storage "etcd"` and `ha_storage "etcd"`.

use std::time::Duration;

use super::credential::{Credential, credential};
use super::tls::{ClientTls, client_tls};
use crate::config::parse::{Context, is_url};
use crate::config::problem::Problem;
use crate::config::section::Section;

/// Where a member is expected if nothing is said.
const ADDRESS: &str = "http://127.0.0.1:2379";
/// What all keys begin with if nothing is said.
const PATH: &str = "/vault/";
/// Most bytes of `path`: it stands before every key of a commit.
const PATH_BYTES: usize = 256;

/// Where an etcd cluster is, and who this node is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdStorage {
    /// `address`: URLs of its members, `https://host:2379`; at least one. They are tried in this order.
    pub addresses: Vec<String>,
    /// `path`: what all keys begin with; it begins and ends with a slash and has at most 256 bytes.
    pub path: String,
    /// `username`; never without `password`.
    pub username: Option<Credential>,
    /// `password`.
    pub password: Option<Credential>,
    /// `tls_*`, for the addresses with https.
    pub tls: ClientTls,
    /// `request_timeout`: how long one request may take, from 100 ms to 60 s.
    pub request_timeout: Duration,
}

/// Reads `storage "etcd" { … }`.
pub(super) fn storage(section: &mut Section<'_>, context: &Context<'_>) -> EtcdStorage {
    if section.text("etcd_api").is_some_and(|api| !matches!(api.trim(), "v3" | "3")) {
        section.conflict(
            "etcd_api",
            "only etcd_api = \"v3\" is spoken: etcd's v2 store has no transactions and is gone from newer servers",
        );
    }
    let mut storage = EtcdStorage {
        addresses: addresses(section),
        path: path(section),
        username: credential(section, "username", context),
        password: credential(section, "password", context),
        tls: client_tls(section),
        request_timeout: Duration::from_secs(5),
    };
    section.duration(
        "request_timeout",
        Duration::from_millis(100)..=Duration::from_secs(60),
        &mut storage.request_timeout,
    );
    match (section.has("username"), section.has("password")) {
        (true, false) => section.conflict("username", "username needs password beside it"),
        (false, true) => section.conflict("password", "password needs username beside it"),
        _ => {}
    }
    let is_plain = !storage.addresses.iter().any(|address| address.starts_with("https://"));
    for key in ["tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name"] {
        if is_plain && section.has(key) {
            section.conflict(
                key,
                &format!("{key} is of no use as long as no address begins with https://: write https"),
            );
        }
    }
    storage
}

fn addresses(section: &mut Section<'_>) -> Vec<String> {
    let given = section.texts("address");
    for address in given.iter().filter(|address| !is_url(address)) {
        let place = section.place_of("address");
        let expected = "URLs such as https://etcd-0:2379, without a path".to_owned();
        section.report(Problem::BadValue {
            place,
            key: "address".to_owned(),
            value: address.clone(),
            expected,
        });
    }
    if !given.is_empty() {
        return given.iter().map(|address| address.trim_end_matches('/').to_owned()).collect();
    }
    if section.has("discovery_srv") {
        section.conflict("discovery_srv", "discovery_srv is not followed: name the members in address");
    } else if section.has("address") {
        section.conflict("address", "address is empty: name the members, or leave it out for a local one");
    }
    vec![ADDRESS.to_owned()]
}

/// The path, with a slash at both ends as Vault has it.
fn path(section: &mut Section<'_>) -> String {
    let expected = format!("a text of at most {} bytes that is more than slashes", PATH_BYTES - 2);
    let given = section.parsed("path", &expected, |text| {
        let inner = text.trim_matches('/');
        let is_good =
            !inner.is_empty() && inner.len() <= PATH_BYTES - 2 && !inner.chars().any(char::is_control);
        is_good.then(|| format!("/{inner}/"))
    });
    given.unwrap_or_else(|| PATH.to_owned())
}
