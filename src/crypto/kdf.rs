//! HKDF with SHA-256 (RFC 5869).

use crate::base::secret::SecretBytes;

use super::hash::hmac_sha256;

/// Derives `length` bytes (at most 8160) from `input`; `info` separates uses of one secret.
pub fn hkdf_sha256(salt: &[u8], input: &[u8], info: &[u8], length: usize) -> SecretBytes {
    let extracted = SecretBytes::new(hmac_sha256(salt, input).to_vec());
    let length = length.min(255 * 32);
    let mut out = Vec::with_capacity(length.next_multiple_of(32));
    let mut block = SecretBytes::new(Vec::new());
    let mut counter = 1u8;
    while out.len() < length {
        let message = SecretBytes::new([block.expose(), info, &[counter]].concat());
        block = SecretBytes::new(hmac_sha256(extracted.expose(), message.expose()).to_vec());
        out.extend_from_slice(block.expose());
        counter = counter.wrapping_add(1);
    }
    out.truncate(length);
    SecretBytes::new(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{hex, unhex};

    #[test]
    fn test_cases_of_rfc_5869() {
        let ikm = vec![0x0b; 22];
        let salt = unhex("000102030405060708090a0b0c").expect("hex");
        let info = unhex("f0f1f2f3f4f5f6f7f8f9").expect("hex");
        assert_eq!(
            hex(hkdf_sha256(&salt, &ikm, &info, 42).expose()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
        assert_eq!(
            hex(hkdf_sha256(&[], &ikm, &[], 42).expose()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
    }
}
