//! Building and signing one certificate.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder, Result as BuildResult};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::asn1::{GeneralizedTime, Ia5String, ObjectIdentifier, OctetString, UtcTime};
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, NameConstraints,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity as RawValidity};

use super::X509Error;
use super::authority::{Usage, Validity};
use super::key::{EcdsaSignature, Signing, SigningKey};
use crate::base::clock::UnixMillis;
use crate::base::random::Random;

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
/// RFC 5280 allows 64 characters in a common name.
const COMMON_NAME_CHARACTERS: usize = 64;

/// What a certificate is for.
pub(super) enum Kind<'a> {
    /// It issues others.
    Authority { path_length: u8, permitted_dns: &'a [String] },
    /// It is presented in TLS.
    Leaf { dns: &'a [String], ips: &'a [IpAddr], usage: Usage },
}

struct Profile {
    subject: Name,
    issuer: Option<Name>,
    extensions: Vec<Extension>,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, subject: &Name) -> Name {
        self.issuer.clone().unwrap_or_else(|| subject.clone())
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _own: SubjectPublicKeyInfoRef<'_>,
        _issuer: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> BuildResult<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

/// Makes one certificate for `public`, signed by `signer`; `issuer` is `None` for a root.
pub(super) fn issue(
    kind: &Kind<'_>,
    common_name: &str,
    issuer: Option<&Certificate>,
    public: &SubjectPublicKeyInfoOwned,
    validity: Validity,
    signer: &SigningKey,
    random: &dyn Random,
) -> Result<Certificate, X509Error> {
    let subject = name(common_name)?;
    let own_id = key_identifier(public)?;
    let issuer_id = match issuer {
        None => own_id.clone(),
        Some(certificate) => subject_key_identifier(certificate)?,
    };
    let mut extensions = vec![
        extension(&SubjectKeyIdentifier(own_id), &subject)?,
        extension(
            &AuthorityKeyIdentifier { key_identifier: Some(issuer_id), ..AuthorityKeyIdentifier::default() },
            &subject,
        )?,
    ];
    match kind {
        Kind::Authority { path_length, permitted_dns } => {
            extensions.push(extension(
                &BasicConstraints { ca: true, path_len_constraint: Some(*path_length) },
                &subject,
            )?);
            extensions.push(extension(&KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign), &subject)?);
            if !permitted_dns.is_empty() {
                let permitted = permitted_dns.iter().map(|dns| subtree(dns)).collect::<Result<_, _>>()?;
                let constraints =
                    NameConstraints { permitted_subtrees: Some(permitted), excluded_subtrees: None };
                extensions.push(extension(&constraints, &subject)?);
            }
        }
        Kind::Leaf { dns, ips, usage } => {
            extensions.push(extension(&KeyUsage(KeyUsages::DigitalSignature.into()), &subject)?);
            let purposes = match usage {
                Usage::Server => vec![SERVER_AUTH],
                Usage::ServerAndClient => vec![SERVER_AUTH, CLIENT_AUTH],
            };
            extensions.push(extension(&ExtendedKeyUsage(purposes), &subject)?);
            let mut names: Vec<GeneralName> =
                dns.iter().map(|name| dns_name(name)).collect::<Result<_, _>>()?;
            for ip in *ips {
                names.push(ip_name(*ip)?);
            }
            extensions.push(extension(&SubjectAltName(names), &subject)?);
        }
    }
    let issuer = issuer.map(|certificate| certificate.tbs_certificate().subject().clone());
    let profile = Profile { subject, issuer, extensions };
    let raw = RawValidity::new(time(validity.not_before)?, time(validity.not_after)?);
    let builder = CertificateBuilder::new(profile, serial(random)?, raw, public.clone())
        .map_err(|error| encode(&error))?;
    builder.build::<_, EcdsaSignature>(&Signing(signer)).map_err(|error| encode(&error))
}

fn encode(error: &dyn std::fmt::Display) -> X509Error {
    X509Error::Encode(error.to_string())
}

fn extension<E>(content: &E, subject: &Name) -> Result<Extension, X509Error>
where
    for<'a> &'a E: ToExtension<Error = x509_cert::der::Error>,
{
    content.to_extension(subject, &[]).map_err(|error| encode(&error))
}

/// The common name alone; characters with a meaning in the text form of names are replaced.
fn name(common_name: &str) -> Result<Name, X509Error> {
    let plain: String = common_name
        .chars()
        .take(COMMON_NAME_CHARACTERS)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ' | ':') { c } else { '-' })
        .collect();
    Name::from_str(&format!("CN={}", plain.trim())).map_err(|error| encode(&error))
}

fn dns_name(text: &str) -> Result<GeneralName, X509Error> {
    let plain = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if plain.len() > 253 || !plain.split('.').all(is_label) {
        return Err(X509Error::Name(text.to_owned()));
    }
    Ia5String::new(text).map(GeneralName::DnsName).map_err(|_| X509Error::Name(text.to_owned()))
}

fn subtree(dns: &str) -> Result<GeneralSubtree, X509Error> {
    Ok(GeneralSubtree { base: dns_name(dns)?, minimum: 0, maximum: None })
}

fn ip_name(ip: IpAddr) -> Result<GeneralName, X509Error> {
    let bytes = match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    OctetString::new(bytes).map(GeneralName::IpAddress).map_err(|error| encode(&error))
}

/// RFC 7093, method 1: the first 160 bits of the SHA-256 of the public key.
fn key_identifier(public: &SubjectPublicKeyInfoOwned) -> Result<OctetString, X509Error> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public.subject_public_key.raw_bytes());
    OctetString::new(&digest.as_ref()[..20]).map_err(|error| encode(&error))
}

/// The identifier that an issuer's own certificate states, so that chains made elsewhere fit as well.
fn subject_key_identifier(certificate: &Certificate) -> Result<OctetString, X509Error> {
    let tbs = certificate.tbs_certificate();
    match tbs.get_extension::<SubjectKeyIdentifier>() {
        Ok(Some((_, id))) => Ok(id.0),
        Ok(None) => key_identifier(tbs.subject_public_key_info()),
        Err(error) => Err(encode(&error)),
    }
}

/// 16 random bytes; the top bit is cleared and the next set, so that the number is positive and of full length.
fn serial(random: &dyn Random) -> Result<SerialNumber, X509Error> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::new(&bytes).map_err(|error| encode(&error))
}

fn time(at: UnixMillis) -> Result<Time, X509Error> {
    let since = Duration::from_secs(at.seconds());
    UtcTime::from_unix_duration(since)
        .map(Time::UtcTime)
        .or_else(|_| GeneralizedTime::from_unix_duration(since).map(Time::GeneralTime))
        .map_err(|error| encode(&error))
}
