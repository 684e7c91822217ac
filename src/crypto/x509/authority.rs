//! [`Authority`]: a certificate with its key that issues others; [`Leaf`]: what a server or client presents.

use std::net::IpAddr;

use x509_cert::Certificate;

use super::X509Error;
use super::encode::{Kind, issue};
use super::key::SigningKey;
use super::read;
use crate::base::clock::UnixMillis;
use crate::base::random::Random;
use crate::base::secret::SecretString;

/// When a certificate is valid; whole seconds count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: UnixMillis,
    /// Last moment.
    pub not_after: UnixMillis,
}

impl Validity {
    /// From `tolerance_seconds` before `now` (for clocks that run behind ours) until `lifetime_seconds` after it.
    pub fn around(now: UnixMillis, tolerance_seconds: u64, lifetime_seconds: u64) -> Self {
        Self {
            not_before: UnixMillis(now.0.saturating_sub(tolerance_seconds.saturating_mul(1000))),
            not_after: now.plus_seconds(lifetime_seconds),
        }
    }

    /// The moment after which a renewal is due: two thirds of the way through.
    pub fn renew_after(&self) -> UnixMillis {
        let span = self.not_after.0.saturating_sub(self.not_before.0);
        UnixMillis(self.not_before.0.saturating_add(span / 3 * 2))
    }
}

/// What a leaf may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// The server's side of TLS.
    Server,
    /// Both sides of TLS: nodes of a cluster.
    ServerAndClient,
}

/// What a leaf shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafSpec {
    /// The subject's common name, for people; not used for verification.
    pub common_name: String,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// IP addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// What it may be used for.
    pub usage: Usage,
    /// When it is valid; cut to the issuer's.
    pub validity: Validity,
}

/// A leaf certificate with its chain and key.
#[derive(Debug)]
pub struct Leaf {
    /// The leaf followed by the intermediate certificates, as PEM; the root is not among them.
    pub chain_pem: String,
    /// Its key.
    pub key: SigningKey,
    /// When it is valid, after the cut to its issuer's validity.
    pub validity: Validity,
}

/// A certificate authority: its key, its certificate and those above it.
#[derive(Debug)]
pub struct Authority {
    key: SigningKey,
    certificate: Certificate,
    above: Vec<Certificate>,
}

impl Authority {
    /// A new self-signed root with a new key. Path length 1: it may issue issuers.
    ///
    /// # Errors
    /// When the certificate cannot be encoded.
    pub fn new_root(common_name: &str, validity: Validity, random: &dyn Random) -> Result<Self, X509Error> {
        let key = SigningKey::generate()?;
        let public = key.public()?;
        let kind = Kind::Authority { path_length: 1, permitted_dns: &[] };
        let certificate = issue(&kind, common_name, None, &public, validity, &key, random)?;
        Ok(Self { key, certificate, above: Vec::new() })
    }

    /// An issuer below this authority, with a new key, that can issue for the given DNS subtrees only (a name and
    /// everything below it). IP addresses stay free. Path length 0: it issues leaves alone.
    ///
    /// # Errors
    /// When a name is not a DNS name or the certificate cannot be encoded.
    pub fn issue_constrained(
        &self,
        common_name: &str,
        permitted_dns: &[String],
        validity: Validity,
        random: &dyn Random,
    ) -> Result<Self, X509Error> {
        let key = SigningKey::generate()?;
        let kind = Kind::Authority { path_length: 0, permitted_dns };
        let validity = self.within(validity);
        let public = key.public()?;
        let certificate =
            issue(&kind, common_name, Some(&self.certificate), &public, validity, &self.key, random)?;
        let mut above = Vec::new();
        if !read::is_self_issued(&self.certificate) {
            above.push(self.certificate.clone());
            above.extend(self.above.iter().cloned());
        }
        Ok(Self { key, certificate, above })
    }

    /// A leaf below this authority, with a new key.
    ///
    /// # Errors
    /// When a name is not a DNS name or the certificate cannot be encoded.
    pub fn issue_leaf(&self, spec: &LeafSpec, random: &dyn Random) -> Result<Leaf, X509Error> {
        let key = SigningKey::generate()?;
        let validity = self.within(spec.validity);
        let kind = Kind::Leaf { dns: &spec.dns_names, ips: &spec.ip_addresses, usage: spec.usage };
        let public = key.public()?;
        let leaf =
            issue(&kind, &spec.common_name, Some(&self.certificate), &public, validity, &self.key, random)?;
        let mut chain_pem = read::to_pem(&leaf)?;
        if !read::is_self_issued(&self.certificate) {
            chain_pem.push_str(&self.chain_pem()?);
        }
        Ok(Leaf { chain_pem, key, validity })
    }

    /// Reads an authority: its certificate first, then those above it, and its key.
    ///
    /// # Errors
    /// When either is not PEM or they do not belong together.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, X509Error> {
        let key = SigningKey::from_pem(key_pem)?;
        let mut chain = read::chain(chain_pem)?.into_iter();
        let certificate = chain
            .next()
            .ok_or(X509Error::Pem { what: "the certificate", reason: "there is none in it".to_owned() })?;
        if *certificate.tbs_certificate().subject_public_key_info() != key.public()? {
            return Err(X509Error::Mismatch);
        }
        Ok(Self { key, certificate, above: chain.filter(|above| !read::is_self_issued(above)).collect() })
    }

    /// The authority's certificate as PEM, followed by those above it, without the root unless it is the root itself.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn chain_pem(&self) -> Result<String, X509Error> {
        let mut pem = read::to_pem(&self.certificate)?;
        for above in &self.above {
            pem.push_str(&read::to_pem(above)?);
        }
        Ok(pem)
    }

    /// The authority's key as PEM.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn key_pem(&self) -> Result<SecretString, X509Error> {
        self.key.to_pem()
    }

    /// When the authority's certificate is valid.
    pub fn validity(&self) -> Validity {
        read::validity(&self.certificate)
    }

    fn within(&self, wanted: Validity) -> Validity {
        let own = self.validity();
        Validity {
            not_before: wanted.not_before.max(own.not_before),
            not_after: wanted.not_after.min(own.not_after),
        }
    }
}
