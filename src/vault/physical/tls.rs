//! TLS towards storages, from the files of their configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use super::unusable::Unusable;
use crate::config::ClientTls;

/// How long a server may take to be connected to and to say why it hangs up.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Where Linux distributions keep the CAs.
const SYSTEM_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The TLS configuration of a client, with CA, certificate and key as they lie in their files now. `alpn` names the
/// protocols to offer.
///
/// # Errors
/// The file that cannot be used, and why.
pub async fn client_config(tls: &ClientTls, alpn: &[&str]) -> Result<ClientConfig, Unusable> {
    let roots = roots(tls.ca_file.as_deref()).await?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable::Setting { key: "tls", reason: error.to_string() })?
        .with_root_certificates(roots);
    let mut config = match (&tls.cert_file, &tls.key_file) {
        (Some(cert_file), Some(key_file)) => {
            let chain = certificates("tls_cert_file", cert_file).await?;
            let key = key(key_file).await?;
            let fail = |error| unusable_pair(cert_file, key_file, &error);
            builder.with_client_auth_cert(chain, key).map_err(fail)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(config)
}

/// The name that a server's certificate must have: `given`, or else that of the address.
///
/// # Errors
/// The setting whose text is no name.
pub fn expected_name(given: Option<&str>, host: &str) -> Result<ServerName<'static>, Unusable> {
    let name = given.unwrap_or(host);
    ServerName::try_from(name.to_owned()).map_err(|_| Unusable::Setting {
        key: if given.is_some() { "tls_server_name" } else { "address" },
        reason: format!("{name:?} is no name that a certificate can have: write a DNS name or an IP address"),
    })
}

/// Why a server ends a connection on which nothing was asked, or does not let it come about, if it does so within a second.
/// In TLS 1.3 a client learns only after the handshake that its certificate is refused; what it has sent meanwhile makes a
/// reset of that, behind which the reason is lost. So whoever wants to hear it connects once more and sends nothing.
///
/// `opening` is the connection with its handshake; `meaning` says what an error on it stands for.
pub async fn last_words<S, E>(
    opening: impl Future<Output = Result<S, E>>,
    meaning: impl FnOnce(&io::Error) -> E,
) -> Option<E>
where
    S: AsyncRead + Unpin,
{
    let listening = async { Ok(opening.await?.read_u8().await) };
    match timeout(LAST_WORDS, listening).await.ok()? {
        Ok(read) => read.err().as_ref().map(meaning),
        Err(failure) => Some(failure),
    }
}

fn problem(key: &'static str, path: &Path, reason: impl ToString) -> Unusable {
    Unusable::File { key, path: path.display().to_string(), reason: reason.to_string() }
}

/// Why certificate and key cannot be used together.
fn unusable_pair(cert_file: &Path, key_file: &Path, error: &rustls::Error) -> Unusable {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            let reason =
                format!("it is not the certificate of the key in tls_key_file {}", key_file.display());
            problem("tls_cert_file", cert_file, reason)
        }
        // Only keys have errors of this kind.
        rustls::Error::General(reason) => {
            problem("tls_key_file", key_file, format!("the private key in it cannot be used: {reason}"))
        }
        other => problem("tls_cert_file", cert_file, unreadable(other)),
    }
}

/// Why a certificate out of a file of this node's is none.
fn unreadable(error: &rustls::Error) -> String {
    match error {
        // As a whole it speaks of a peer.
        rustls::Error::InvalidCertificate(what) => format!("a certificate in it cannot be read: {what}"),
        other => format!("a certificate in it cannot be used: {other}"),
    }
}

async fn roots(file: Option<&Path>) -> Result<RootCertStore, Unusable> {
    let usual = || SYSTEM_FILES.iter().map(PathBuf::from).find(|path| path.is_file());
    let (path, is_given) = match file {
        Some(path) => (path.to_owned(), true),
        None => match usual() {
            Some(path) => (path, false),
            // A system without CAs trusts nobody, which shows when a certificate is checked.
            None => return Ok(RootCertStore::empty()),
        },
    };
    let mut store = RootCertStore::empty();
    for certificate in certificates("tls_ca_file", &path).await? {
        match store.add(certificate) {
            Err(error) if is_given => {
                return Err(problem("tls_ca_file", &path, unreadable(&error)));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(store)
}

async fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let pem = tokio::fs::read(path).await.map_err(|error| problem(key, path, error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    // The errors of the reader show bytes of the file as numbers.
    let found = found.map_err(|_: pem::Error| problem(key, path, "a PEM section in it is damaged"))?;
    if found.is_empty() {
        return Err(problem(key, path, "there is no PEM certificate in it"));
    }
    Ok(found)
}

async fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    let key = "tls_key_file";
    let pem = tokio::fs::read(path).await.map_err(|error| problem(key, path, error))?;
    let pem = zeroize::Zeroizing::new(pem);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| problem(key, path, "there is no PEM private key in it"))
}
