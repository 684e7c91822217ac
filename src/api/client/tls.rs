//! Whom the client trusts.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::ClientError;

/// Whose certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The system's CAs: of this file, or else where Linux distributions keep them.
    System {
        /// A file that replaces the usual places.
        file: Option<PathBuf>,
    },
    /// These CAs alone, as PEM text.
    Pem(Vec<u8>),
    /// The CAs of these files alone.
    Files(Vec<PathBuf>),
    /// Anybody: no protection against who is in between.
    Anybody,
}

/// Where Linux distributions keep the CAs.
const SYSTEM_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Trust {
    /// The TLS configuration of a client that trusts so.
    pub(super) fn client_config(&self) -> Result<ClientConfig, ClientError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| ClientError::Trust { reason: e.to_string() })?;
        let builder = match self {
            Self::Anybody => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(NoCheck(provider)))
            }
            Self::Pem(pem) => builder.with_root_certificates(roots(pem, "the given text", true)?),
            Self::Files(files) => {
                let mut all = RootCertStore::empty();
                for file in files {
                    all.roots.extend(roots(&read(file)?, &file.display().to_string(), true)?.roots);
                }
                builder.with_root_certificates(all)
            }
            Self::System { file } => builder.with_root_certificates(system_roots(file.clone())?),
        };
        Ok(builder.with_no_client_auth())
    }
}

fn read(file: &PathBuf) -> Result<Vec<u8>, ClientError> {
    std::fs::read(file).map_err(|e| ClientError::Trust { reason: format!("{}: {e}", file.display()) })
}

/// A system without CAs trusts nobody, which shows when a certificate is checked and not before.
fn system_roots(file: Option<PathBuf>) -> Result<RootCertStore, ClientError> {
    let usual = || SYSTEM_FILES.iter().map(PathBuf::from).find(|path| path.is_file());
    match file.or_else(usual) {
        Some(path) => roots(&read(&path)?, &path.display().to_string(), false),
        None => Ok(RootCertStore::empty()),
    }
}

/// The certificates of `pem`; `strict` refuses a certificate that cannot be used, and an empty text.
fn roots(pem: &[u8], name: &str, strict: bool) -> Result<RootCertStore, ClientError> {
    let wrong = |reason: String| ClientError::Trust { reason: format!("{name}: {reason}") };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added =
            certificate.map_err(|e| e.to_string()).and_then(|c| store.add(c).map_err(|e| e.to_string()));
        match added {
            Err(reason) if strict => return Err(wrong(reason)),
            Ok(()) | Err(_) => {}
        }
    }
    if strict && store.is_empty() {
        return Err(wrong("there is no PEM certificate in it".to_owned()));
    }
    Ok(store)
}

/// Accepts every certificate, as `VAULT_SKIP_VERIFY` asks. Signatures of the handshake are still checked.
#[derive(Debug)]
struct NoCheck(Arc<CryptoProvider>);

impl ServerCertVerifier for NoCheck {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
