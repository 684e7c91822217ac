//! AES-256-GCM with random 96-bit nonces.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use thiserror::Error;
use zeroize::Zeroize;

use crate::base::random::Random;
use crate::base::secret::SecretBytes;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes that sealing adds: nonce and tag.
pub const OVERHEAD_BYTES: usize = NONCE_LEN + 16;

/// Why a key was not accepted or a message could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AeadError {
    /// The key is not [`KEY_BYTES`] long.
    #[error("the key is not 32 bytes long")]
    KeyLength,
    /// The message is too short, altered, or sealed under another key or other additional data.
    #[error("the message cannot be decrypted")]
    Open,
    /// The message is larger than the algorithm allows.
    #[error("the message is too large to encrypt")]
    Seal,
}

/// Draws the [`KEY_BYTES`] of a new key.
pub fn random_key(random: &dyn Random) -> SecretBytes {
    let mut raw = vec![0; KEY_BYTES];
    random.fill(&mut raw);
    SecretBytes::new(raw)
}

/// An AES-256-GCM key, expanded and ready.
pub struct AeadKey(LessSafeKey);

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

impl AeadKey {
    /// Prepares a key of [`KEY_BYTES`].
    ///
    /// # Errors
    /// [`AeadError::KeyLength`].
    pub fn new(key: &[u8]) -> Result<Self, AeadError> {
        UnboundKey::new(&AES_256_GCM, key)
            .map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| AeadError::KeyLength)
    }

    /// Encrypts `plain` and authenticates `aad` with it; appends nonce, ciphertext and tag to `out`.
    ///
    /// A key must not seal more than 2^32 messages: the caller counts.
    ///
    /// # Errors
    /// [`AeadError::Seal`] for messages beyond the algorithm's 64 GiB.
    pub fn seal(
        &self,
        random: &dyn Random,
        aad: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), AeadError> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce);
        self.seal_with(nonce, aad, plain, out)
    }

    fn seal_with(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), AeadError> {
        out.reserve(plain.len() + OVERHEAD_BYTES);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                &mut out[start..],
            )
            .map_err(|_| AeadError::Seal);
        match tag {
            Ok(tag) => {
                out.extend_from_slice(tag.as_ref());
                Ok(())
            }
            Err(error) => {
                out[start..].zeroize();
                out.truncate(start - NONCE_LEN);
                Err(error)
            }
        }
    }

    /// Opens nonce, ciphertext and tag as [`AeadKey::seal`] wrote them.
    ///
    /// # Errors
    /// [`AeadError::Open`].
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, AeadError> {
        let (nonce, message) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(AeadError::Open)?;
        let mut buffer = message.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length =
            self.0.open_in_place(nonce, Aad::from(aad), &mut buffer).map_err(|_| AeadError::Open)?.len();
        buffer.truncate(length);
        Ok(SecretBytes::new(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{hex, unhex};
    use crate::base::random::SystemRandom;

    fn bytes(text: &str) -> Vec<u8> {
        unhex(text).expect("hex")
    }

    #[test]
    fn gcm_test_cases_15_and_16_for_aes_256() {
        let key = AeadKey::new(&bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"))
            .expect("key");
        let nonce: [u8; 12] = bytes("cafebabefacedbaddecaf888").try_into().expect("nonce");
        let plain = bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
        );
        let mut out = Vec::new();
        key.seal_with(nonce, &[], &plain, &mut out).expect("sealed");
        assert_eq!(
            hex(&out[12..]),
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c"
        );
        let mut out = Vec::new();
        let aad = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        key.seal_with(nonce, &aad, &plain[..60], &mut out).expect("sealed");
        assert_eq!(hex(&out[out.len() - 16..]), "76fc6ece0f4e1768cddf8853bb2d551b");
        assert_eq!(key.open(&aad, &out).expect("opened").expose(), &plain[..60]);
    }

    #[test]
    fn anything_altered_is_refused() {
        let key = AeadKey::new(&[7; 32]).expect("key");
        let mut sealed = Vec::new();
        key.seal(&SystemRandom, b"path", b"secret", &mut sealed).expect("sealed");
        assert_eq!(key.open(b"path", &sealed).expect("opened").expose(), b"secret");
        assert_eq!(key.open(b"other", &sealed), Err(AeadError::Open));
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(key.open(b"path", &altered), Err(AeadError::Open), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(key.open(b"path", &sealed[..length]), Err(AeadError::Open));
        }
        assert_eq!(AeadKey::new(&[7; 31]).err(), Some(AeadError::KeyLength));
    }
}
