//! The Shamir seal: the key that wraps the root key exists only as shares in people's hands.

use super::{AutoSeal, Seal, SealError, Wrapped, unwrap_with, wrap_with};
use crate::base::random::Random;
use crate::base::secret::SecretBytes;
use crate::crypto::aead::KEY_BYTES;
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

/// Makes a new unseal key, wraps the root key by it, and splits it. One share is the key itself.
///
/// # Errors
/// [`SealError::Shares`] for impossible numbers.
pub fn wrap_by_shares(
    random: &dyn Random,
    cluster: &str,
    root: &SecretBytes,
    shares: u8,
    threshold: u8,
) -> Result<(Wrapped, Vec<SecretBytes>), SealError> {
    let mut raw = vec![0; KEY_BYTES];
    random.fill(&mut raw);
    let key = SecretBytes::new(raw);
    let parts = if shares == 1 && threshold == 1 {
        vec![key.clone()]
    } else {
        shamir::split(random, key.expose(), shares, threshold)?
    };
    Ok((wrap_with(key.expose(), random, KIND, "", cluster, root)?, parts))
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
    let key = match parts {
        [only] => only.clone(),
        several => shamir::combine(several)?,
    };
    unwrap_with(key.expose(), cluster, wrapped)
}
