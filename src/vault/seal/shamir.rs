//! The Shamir seal: the key that wraps the root key exists only as shares in people's hands.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::{AutoSeal, Seal, SealError, Wrapped, unwrap_with, wrap_with};
use crate::base::id;
use crate::base::random::Random;
use crate::base::secret::{SecretBytes, SecretString};
use crate::crypto::aead::random_key;
use crate::crypto::shamir;

const KIND: &str = "shamir";

/// The Shamir seal.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShamirSeal;

impl Seal for ShamirSeal {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn automatic(&self) -> Option<&dyn AutoSeal> {
        None
    }
}

/// A share as people write it, in hexadecimal or base64. Hexadecimal comes first: a share of 32 or 33 bytes has a length
/// there that it cannot have in base64.
pub fn read_share(text: &SecretString) -> Option<SecretBytes> {
    let text = text.expose().trim();
    let hex = || id::unhex(text);
    let base64 = || STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok();
    hex().or_else(base64).map(SecretBytes::new)
}

/// Makes a new key and splits it. One share is the key itself.
///
/// # Errors
/// [`SealError::Shares`] for impossible numbers.
pub fn split_new_key(
    random: &dyn Random,
    shares: u8,
    threshold: u8,
) -> Result<(SecretBytes, Vec<SecretBytes>), SealError> {
    let key = random_key(random);
    let parts = if shares == 1 && threshold == 1 {
        vec![key.clone()]
    } else {
        shamir::split(random, key.expose(), shares, threshold)?
    };
    Ok((key, parts))
}

/// Rebuilds a key from its shares; whether it is the right one, only what it opens tells.
///
/// # Errors
/// [`SealError::Shares`] if they cannot belong together.
pub fn join_key(parts: &[SecretBytes]) -> Result<SecretBytes, SealError> {
    Ok(match parts {
        [only] => only.clone(),
        several => shamir::combine(several)?,
    })
}

/// Wraps the root key by an unseal key.
///
/// # Errors
/// [`SealError::Cipher`], never in practice.
pub fn wrap_by_key(
    random: &dyn Random,
    cluster: &str,
    key: &SecretBytes,
    root: &SecretBytes,
) -> Result<Wrapped, SealError> {
    wrap_with(key.expose(), random, KIND, "", cluster, root)
}

/// Rebuilds the unseal key and unwraps the root key.
///
/// # Errors
/// [`SealError::WrongKey`] if the shares do not belong together or to this vault.
pub fn unwrap_by_shares(
    cluster: &str,
    wrapped: &Wrapped,
    parts: &[SecretBytes],
) -> Result<SecretBytes, SealError> {
    unwrap_with(join_key(parts)?.expose(), cluster, wrapped)
}
