//! Certificates of the API listeners: from files, or minted from an issuer; exchanged without touching connections.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;
use tracing::{info, warn};

use crate::base::clock::{Clock, UnixMillis};
use crate::base::random::Random;
use crate::base::secret::SecretString;
use crate::base::task::Shutdown;
use crate::crypto::x509::{self, Authority, LeafSpec, Usage, Validity, X509Error};

/// How often files are looked at.
const REREAD: Duration = Duration::from_secs(10);
/// Lifetime of a minted certificate; renewed after two thirds of it.
const LEAF_SECONDS: u64 = 7 * 86_400;
/// How far behind a client's clock may be.
const TOLERANCE_SECONDS: u64 = 3600;

/// Why a listener has no certificate.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file does not hold what it should.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: X509Error,
    },
    /// A certificate cannot be made from the issuer.
    #[error("the issuer in {} cannot issue a certificate: {source}", path.display())]
    Issue {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: X509Error,
    },
    /// The TLS library refuses certificate, key or settings.
    #[error("TLS cannot be set up: {0}")]
    Refused(String),
}

/// Where a certificate comes from.
#[derive(Debug, Clone)]
pub(crate) enum CertificateSource {
    /// Two PEM files that somebody else replaces.
    Files {
        /// Leaf first, then intermediates.
        cert: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// A folder with an issuer, `tls.crt` and `tls.key`.
    Issuer {
        /// The folder.
        dir: PathBuf,
        /// Names to put into the certificate.
        dns_names: Vec<String>,
        /// Addresses to put into the certificate.
        ip_addresses: Vec<IpAddr>,
    },
}

/// A certificate that is ready for use.
struct Loaded {
    certified: CertifiedKey,
    /// What was read: the same content needs no reload.
    content: [SecretString; 2],
    renew_after: Option<UnixMillis>,
    not_after: UnixMillis,
}

impl CertificateSource {
    fn paths(&self) -> (PathBuf, PathBuf) {
        match self {
            Self::Files { cert, key } => (cert.clone(), key.clone()),
            Self::Issuer { dir, .. } => (dir.join("tls.crt"), dir.join("tls.key")),
        }
    }

    async fn load(&self, now: UnixMillis, random: &dyn Random) -> Result<Loaded, TlsError> {
        let (cert_path, key_path) = self.paths();
        let content = [read(&cert_path).await?, read(&key_path).await?];
        self.build(&cert_path, &key_path, content, now, random)
    }

    fn build(
        &self,
        cert_path: &Path,
        key_path: &Path,
        content: [SecretString; 2],
        now: UnixMillis,
        random: &dyn Random,
    ) -> Result<Loaded, TlsError> {
        match self {
            Self::Files { .. } => {
                let wrong = |source| TlsError::Content { path: cert_path.to_owned(), source };
                let key = PrivateKeyDer::from_pem_slice(content[1].expose().as_bytes()).map_err(|error| {
                    TlsError::Content {
                        path: key_path.to_owned(),
                        source: X509Error::Pem { what: "the private key", reason: error.to_string() },
                    }
                })?;
                let info = x509::inspect(content[0].expose()).map_err(wrong)?;
                let certified = certified(content[0].expose(), key)?;
                Ok(Loaded { certified, content, renew_after: None, not_after: info.validity.not_after })
            }
            Self::Issuer { dir, dns_names, ip_addresses } => {
                let issue = |source| TlsError::Issue { path: dir.clone(), source };
                let issuer = Authority::from_pem(content[0].expose(), content[1].expose()).map_err(issue)?;
                let spec = LeafSpec {
                    common_name: "holdfast server".to_owned(),
                    dns_names: dns_names.clone(),
                    ip_addresses: ip_addresses.clone(),
                    usage: Usage::Server,
                    validity: Validity::around(now, TOLERANCE_SECONDS, LEAF_SECONDS),
                };
                let leaf = issuer.issue_leaf(&spec, random).map_err(issue)?;
                let certified = certified(&leaf.chain_pem, private(&leaf.key))?;
                let renew_after = Some(leaf.validity.renew_after());
                Ok(Loaded { certified, content, renew_after, not_after: leaf.validity.not_after })
            }
        }
    }
}

async fn read(path: &Path) -> Result<SecretString, TlsError> {
    tokio::fs::read_to_string(path)
        .await
        .map(SecretString::new)
        .map_err(|error| TlsError::Read { path: path.to_owned(), reason: error.to_string() })
}

/// The key in the form that the TLS library takes.
pub(super) fn private(key: &x509::SigningKey) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8().expose().to_vec()))
}

/// A chain with its key, checked to belong together.
pub(super) fn certified(chain_pem: &str, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Refused(error.to_string()))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| TlsError::Refused(error.to_string()))
}

/// The crypto provider of all TLS of the server.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The certificate that handshakes use, exchangeable at any time.
#[derive(Debug)]
pub(crate) struct Certificates(ArcSwap<CertifiedKey>);

impl Certificates {
    /// Starts with `first`.
    pub(super) fn new(first: CertifiedKey) -> Self {
        Self(ArcSwap::from_pointee(first))
    }

    /// Uses `next` from the next handshake on.
    pub(super) fn replace(&self, next: CertifiedKey) {
        self.0.store(Arc::new(next));
    }

    /// The certificate in use.
    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// Settings of the TLS of one API listener.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    /// Where the certificate comes from.
    pub source: CertificateSource,
    /// Whether TLS 1.2 is refused.
    pub only_tls13: bool,
    /// CA certificates of clients.
    pub client_ca: Option<PathBuf>,
    /// Whether clients must present a certificate.
    pub require_client_cert: bool,
}

/// The TLS of one listener: its configuration, and what keeps its certificate fresh.
pub(crate) struct ListenerCertificate {
    /// For the accept loop.
    pub config: Arc<ServerConfig>,
    settings: TlsSettings,
    certificates: Arc<Certificates>,
    loaded: ([SecretString; 2], Option<UnixMillis>),
}

impl ListenerCertificate {
    /// Reads or mints the first certificate.
    ///
    /// # Errors
    /// See [`TlsError`]; each says which file is wrong.
    pub(crate) async fn prepare(
        settings: TlsSettings,
        now: UnixMillis,
        random: &dyn Random,
    ) -> Result<Self, TlsError> {
        let loaded = settings.source.load(now, random).await?;
        let certificates = Arc::new(Certificates::new(loaded.certified));
        let refused = |error: &dyn std::fmt::Display| TlsError::Refused(error.to_string());
        let versions: &[_] = if settings.only_tls13 {
            &[&rustls::version::TLS13]
        } else {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| refused(&error))?;
        let verifier = match &settings.client_ca {
            None => Arc::new(NoClientAuth),
            Some(path) => {
                let roots = roots(read(path).await?.expose())?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                let verifier =
                    if settings.require_client_cert { verifier } else { verifier.allow_unauthenticated() };
                verifier.build().map_err(|error| refused(&error))?
            }
        };
        let resolver: Arc<Certificates> = Arc::clone(&certificates);
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        Ok(Self { config, settings, certificates, loaded: (loaded.content, loaded.renew_after) })
    }

    /// Keeps the certificate fresh until `shutdown`: reads the files again when they change, mints anew in time.
    /// A certificate that cannot be replaced stays in use, and the log says why.
    pub(crate) async fn keep_fresh(
        mut self,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        shutdown: Shutdown,
    ) {
        let mut complaint = None;
        while shutdown.sleep(REREAD).await {
            match self.refresh(clock.unix(), &*random).await {
                Ok(Some(until)) => {
                    complaint = None;
                    info!(valid_until = %until.rfc3339(), "the listener has a new certificate");
                }
                Ok(None) => complaint = None,
                Err(error) => {
                    let text = error.to_string();
                    if complaint.as_ref() != Some(&text) {
                        warn!(error = %text, "the certificate of the listener cannot be renewed; the old one stays");
                        complaint = Some(text);
                    }
                }
            }
        }
    }

    async fn refresh(
        &mut self,
        now: UnixMillis,
        random: &dyn Random,
    ) -> Result<Option<UnixMillis>, TlsError> {
        let (cert_path, key_path) = self.settings.source.paths();
        let content = [read(&cert_path).await?, read(&key_path).await?];
        let is_due = self.loaded.1.is_some_and(|due| now >= due);
        if content == self.loaded.0 && !is_due {
            return Ok(None);
        }
        let loaded = self.settings.source.build(&cert_path, &key_path, content, now, random)?;
        self.certificates.replace(loaded.certified);
        self.loaded = (loaded.content, loaded.renew_after);
        Ok(Some(loaded.not_after))
    }
}

/// The certificates of a PEM text as trust anchors.
pub(super) fn roots(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| TlsError::Refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| TlsError::Refused(error.to_string()))?;
    }
    Ok(roots)
}
