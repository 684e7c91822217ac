//! TLS towards a storage.

use std::path::PathBuf;

use crate::config::section::Section;

/// Whom a storage's servers must be, and who this node is to them. Files are read again at every connection, so that
/// rotated ones are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// `tls_ca_file`: the CAs that may sign a server's certificate, as PEM; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// `tls_cert_file`: this node's certificate chain, as PEM.
    pub cert_file: Option<PathBuf>,
    /// `tls_key_file`: its private key, as PEM (PKCS #8, SEC 1 or PKCS #1).
    pub key_file: Option<PathBuf>,
    /// `tls_server_name`: the name to expect in a server's certificate instead of the host of its address.
    pub server_name: Option<String>,
}

/// Reads Vault's `tls_*` keys, which all storages name alike.
pub(super) fn client_tls(section: &mut Section<'_>) -> ClientTls {
    let tls = ClientTls {
        ca_file: section.text("tls_ca_file").map(PathBuf::from),
        cert_file: section.text("tls_cert_file").map(PathBuf::from),
        key_file: section.text("tls_key_file").map(PathBuf::from),
        server_name: section.text("tls_server_name"),
    };
    match (&tls.cert_file, &tls.key_file) {
        (Some(_), None) => section.conflict("tls_cert_file", "tls_cert_file needs tls_key_file beside it"),
        (None, Some(_)) => section.conflict("tls_key_file", "tls_key_file needs tls_cert_file beside it"),
        _ => {}
    }
    let mut skip = false;
    section.flag("tls_skip_verify", &mut skip);
    if skip {
        section.conflict(
            "tls_skip_verify",
            "tls_skip_verify would let anybody in between change secrets: name the CA in tls_ca_file instead",
        );
    }
    tls
}
