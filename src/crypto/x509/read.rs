//! Reading certificates.

use x509_cert::Certificate;
use x509_cert::der::EncodePem;
use x509_cert::der::pem::LineEnding;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use std::net::IpAddr;

use super::X509Error;
use super::authority::Validity;
use crate::base::clock::UnixMillis;

/// What a person or a controller wants to know of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The subject, as text.
    pub subject: String,
    /// The issuer, as text.
    pub issuer: String,
    /// When it is valid.
    pub validity: Validity,
    /// DNS names that it is for.
    pub dns_names: Vec<String>,
    /// IP addresses that it is for.
    pub ip_addresses: Vec<IpAddr>,
}

/// Reads the first certificate of a PEM text.
///
/// # Errors
/// When there is none, or it cannot be parsed.
pub fn inspect(pem: &str) -> Result<CertificateInfo, X509Error> {
    let certificates = chain(pem)?;
    let certificate = certificates
        .first()
        .ok_or(X509Error::Pem { what: "the certificate", reason: "there is none in it".to_owned() })?;
    let tbs = certificate.tbs_certificate();
    let mut info = CertificateInfo {
        subject: tbs.subject().to_string(),
        issuer: tbs.issuer().to_string(),
        validity: validity(certificate),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
    };
    if let Ok(Some((_, SubjectAltName(names)))) = tbs.get_extension::<SubjectAltName>() {
        for name in names {
            match name {
                GeneralName::DnsName(dns) => info.dns_names.push(dns.to_string()),
                GeneralName::IpAddress(bytes) => info.ip_addresses.extend(ip(bytes.as_bytes())),
                _ => {}
            }
        }
    }
    Ok(info)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

pub(super) fn chain(pem: &str) -> Result<Vec<Certificate>, X509Error> {
    Certificate::load_pem_chain(pem.as_bytes())
        .map_err(|error| X509Error::Pem { what: "the certificate", reason: error.to_string() })
}

pub(super) fn to_pem(certificate: &Certificate) -> Result<String, X509Error> {
    certificate.to_pem(LineEnding::LF).map_err(|error| X509Error::Encode(error.to_string()))
}

pub(super) fn validity(certificate: &Certificate) -> Validity {
    let raw = certificate.tbs_certificate().validity();
    let at = |time: &x509_cert::time::Time| {
        UnixMillis(u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX))
    };
    Validity { not_before: at(&raw.not_before), not_after: at(&raw.not_after) }
}

pub(super) fn is_self_issued(certificate: &Certificate) -> bool {
    let tbs = certificate.tbs_certificate();
    tbs.subject() == tbs.issuer()
}
