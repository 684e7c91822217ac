//! [`SigningKey`]: a P-256 key, and the small adaptor that lets the certificate builder sign with it.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use signature::{Keypair, Signer};
use x509_cert::der::asn1::{BitString, ObjectIdentifier};
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Any, Document, Encode};
use x509_cert::spki::{
    AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey, SignatureBitStringEncoding,
    SubjectPublicKeyInfoOwned,
};

use super::X509Error;
use crate::base::secret::{SecretBytes, SecretString};

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// A P-256 private key that signs certificates.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    pkcs8: SecretBytes,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl SigningKey {
    /// A new random key.
    ///
    /// # Errors
    /// When the crypto provider cannot make one.
    pub fn generate() -> Result<Self, X509Error> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| X509Error::Encode("the crypto provider made no key".to_owned()))?;
        Self::from_pkcs8(&SecretBytes::new(document.as_ref().to_vec()))
    }

    /// Reads a PKCS#8 document in DER.
    ///
    /// # Errors
    /// When it is not a P-256 key.
    pub fn from_pkcs8(der: &SecretBytes) -> Result<Self, X509Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.expose())
            .map_err(|_| X509Error::Key)?;
        Ok(Self { pair, pkcs8: der.clone() })
    }

    /// Reads PEM with a `PRIVATE KEY` block.
    ///
    /// # Errors
    /// When it is not PEM or not a P-256 key.
    pub fn from_pem(pem: &str) -> Result<Self, X509Error> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| X509Error::Pem { what: "the private key", reason: error.to_string() })?;
        match key {
            PrivateKeyDer::Pkcs8(der) => Self::from_pkcs8(&SecretBytes::new(der.secret_pkcs8_der().to_vec())),
            _ => Err(X509Error::Key),
        }
    }

    /// The key as a PKCS#8 document in DER.
    pub fn pkcs8(&self) -> &SecretBytes {
        &self.pkcs8
    }

    /// The key as PEM with a `PRIVATE KEY` block.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn to_pem(&self) -> Result<SecretString, X509Error> {
        x509_cert::der::pem::encode_string("PRIVATE KEY", LineEnding::LF, self.pkcs8.expose())
            .map(SecretString::new)
            .map_err(|error| X509Error::Encode(error.to_string()))
    }

    /// The public half, as certificates carry it.
    pub(super) fn public(&self) -> Result<SubjectPublicKeyInfoOwned, X509Error> {
        public_info(self.pair.public_key().as_ref()).map_err(|error| X509Error::Encode(error.to_string()))
    }
}

fn public_info(point: &[u8]) -> Result<SubjectPublicKeyInfoOwned, x509_cert::der::Error> {
    Ok(SubjectPublicKeyInfoOwned {
        algorithm: AlgorithmIdentifierOwned {
            oid: ID_EC_PUBLIC_KEY,
            parameters: Some(Any::encode_from(&SECP256R1)?),
        },
        subject_public_key: BitString::from_bytes(point)?,
    })
}

/// A public key as an uncompressed point.
#[derive(Clone)]
pub(super) struct PublicPoint(Vec<u8>);

impl EncodePublicKey for PublicPoint {
    fn to_public_key_der(&self) -> x509_cert::spki::Result<Document> {
        let info = public_info(&self.0)?;
        Ok(Document::try_from(info.to_der()?)?)
    }
}

/// An ECDSA signature in ASN.1.
pub(super) struct EcdsaSignature(Vec<u8>);

impl SignatureBitStringEncoding for EcdsaSignature {
    fn to_bitstring(&self) -> x509_cert::der::Result<BitString> {
        BitString::from_bytes(&self.0)
    }
}

/// The key as the certificate builder wants to see it.
pub(super) struct Signing<'a>(pub(super) &'a SigningKey);

impl Keypair for Signing<'_> {
    type VerifyingKey = PublicPoint;

    fn verifying_key(&self) -> PublicPoint {
        PublicPoint(self.0.pair.public_key().as_ref().to_vec())
    }
}

impl Signer<EcdsaSignature> for Signing<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<EcdsaSignature, signature::Error> {
        let signed = self.0.pair.sign(&SystemRandom::new(), message).map_err(|_| signature::Error::new())?;
        Ok(EcdsaSignature(signed.as_ref().to_vec()))
    }
}

impl DynSignatureAlgorithmIdentifier for Signing<'_> {
    fn signature_algorithm_identifier(&self) -> x509_cert::spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None })
    }
}
