//! Seals: what keeps the root key while the vault is sealed.

mod fixed;
mod shamir;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use fixed::{StaticKey, StaticSeal};
pub use shamir::{ShamirSeal, join_key, read_share, split_new_key, unwrap_by_shares, wrap_by_key};

use crate::base::class::ErrorClass;
use crate::base::random::Random;
use crate::base::secret::SecretBytes;
use crate::crypto::aead::AeadError;
use crate::crypto::shamir::ShamirError;

/// Why a seal did not give the root key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// The key does not open what is stored.
    #[error("the unseal key does not fit")]
    WrongKey,
    /// What is stored names a key that is not configured.
    #[error(
        "the stored keys are wrapped by key {stored:?}, which is not configured (configured: {configured})"
    )]
    UnknownKey {
        /// The name that is stored.
        stored: String,
        /// Names that are configured.
        configured: String,
    },
    /// The seal's configuration is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The other side of the seal cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// Wrong shares or share numbers.
    #[error(transparent)]
    Shares(#[from] ShamirError),
    /// The cipher refused.
    #[error(transparent)]
    Cipher(#[from] AeadError),
}

impl SealError {
    /// The class of the error.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unavailable(_) => ErrorClass::Unavailable,
            Self::WrongKey
            | Self::UnknownKey { .. }
            | Self::Configuration(_)
            | Self::Shares(_)
            | Self::Cipher(_) => ErrorClass::Invalid,
        }
    }
}

/// A wrapped root key, as it is stored in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapped {
    /// The seal that wrapped it.
    pub seal: String,
    /// The key that wrapped it.
    pub key_id: String,
    /// Nonce, ciphertext and tag, in hexadecimal.
    pub blob: String,
}

/// A way to keep the root key.
pub trait Seal: Send + Sync {
    /// Its type as in `sys/seal-status`: `shamir`, `static`.
    fn kind(&self) -> &'static str;

    /// The seal, if it opens without people.
    fn automatic(&self) -> Option<&dyn AutoSeal>;
}

/// A seal that opens without people.
#[async_trait]
pub trait AutoSeal: Send + Sync {
    /// Wraps the root key for storage; `cluster` is authenticated with it.
    ///
    /// # Errors
    /// When the other side cannot be reached.
    async fn wrap(
        &self,
        random: &dyn Random,
        cluster: &str,
        root: &SecretBytes,
    ) -> Result<Wrapped, SealError>;

    /// Unwraps it again.
    ///
    /// # Errors
    /// When no configured key opens it, or the other side cannot be reached.
    async fn unwrap(&self, cluster: &str, wrapped: &Wrapped) -> Result<SecretBytes, SealError>;

    /// Whether `wrapped` was made by another than the current key, so that it should be wrapped anew.
    fn is_stale(&self, wrapped: &Wrapped) -> bool;
}

fn wrap_with(
    key: &[u8],
    random: &dyn Random,
    seal: &str,
    key_id: &str,
    cluster: &str,
    root: &SecretBytes,
) -> Result<Wrapped, SealError> {
    let mut blob = Vec::new();
    let aad = format!("holdfast root key|{seal}|{key_id}|{cluster}");
    crate::crypto::aead::AeadKey::new(key)?.seal(random, aad.as_bytes(), root.expose(), &mut blob)?;
    Ok(Wrapped { seal: seal.to_owned(), key_id: key_id.to_owned(), blob: crate::base::id::hex(&blob) })
}

fn unwrap_with(key: &[u8], cluster: &str, wrapped: &Wrapped) -> Result<SecretBytes, SealError> {
    let blob = crate::base::id::unhex(&wrapped.blob).ok_or(SealError::WrongKey)?;
    let aad = format!("holdfast root key|{}|{}|{cluster}", wrapped.seal, wrapped.key_id);
    crate::crypto::aead::AeadKey::new(key)
        .map_err(|_| SealError::WrongKey)?
        .open(aad.as_bytes(), &blob)
        .map_err(|_| SealError::WrongKey)
}
