//! The layout of an encrypted record: `version u8 | term u32 big-endian | nonce 12 | ciphertext | tag 16`,
//! with `version ‖ term ‖ cluster ‖ path` authenticated, so that a record cannot be moved to another path or cluster.

use crate::base::random::Random;
use crate::base::secret::SecretBytes;
use crate::crypto::aead::{AeadError, AeadKey};

/// The version of the layout that is written.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;

/// Encrypts `plain` for `path` in `cluster`.
pub(super) fn seal(
    key: &AeadKey,
    random: &dyn Random,
    term: u32,
    cluster: &str,
    path: &str,
    plain: &[u8],
) -> Result<Vec<u8>, AeadError> {
    let mut out = header(term).to_vec();
    key.seal(random, &additional(term, cluster, path), plain, &mut out)?;
    Ok(out)
}

/// The term of a record; `None` if it is not one of ours.
pub(super) fn term(record: &[u8]) -> Option<u32> {
    let (header, _) = record.split_first_chunk::<HEADER_BYTES>()?;
    (header[0] == VERSION).then(|| u32::from_be_bytes([header[1], header[2], header[3], header[4]]))
}

/// Decrypts a record whose term is known to be that of `key`.
pub(super) fn open(
    key: &AeadKey,
    cluster: &str,
    path: &str,
    record: &[u8],
) -> Result<SecretBytes, AeadError> {
    let term = term(record).ok_or(AeadError::Open)?;
    key.open(&additional(term, cluster, path), &record[HEADER_BYTES..])
}

fn header(term: u32) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = term.to_be_bytes();
    [VERSION, a, b, c, d]
}

fn additional(term: u32, cluster: &str, path: &str) -> Vec<u8> {
    // Cluster names are UUIDs of one length, so the parts cannot run into each other.
    [&header(term), cluster.as_bytes(), path.as_bytes()].concat()
}
