//! Shamir's secret sharing over GF(2^8), byte for byte in Vault's format: `y1 … yn ‖ x`.
//!
//! All field arithmetic is free of tables and of branches on secrets.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::base::random::Random;
use crate::base::secret::SecretBytes;

/// Why a secret was not split or shares were not combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ShamirError {
    /// The threshold is below 2 or above the number of shares, or there are more than 255 shares.
    #[error("threshold must be 2 to 255 and at most the number of shares")]
    Parameters,
    /// There is no secret to split.
    #[error("cannot split an empty secret")]
    EmptySecret,
    /// Fewer than two shares.
    #[error("less than two parts cannot be used to reconstruct the secret")]
    TooFew,
    /// Shares of different or too small length.
    #[error("all parts must be the same length, and at least two bytes")]
    Length,
    /// The same share twice.
    #[error("duplicate part detected")]
    Duplicate,
}

/// Splits `secret` into `shares` parts of which any `threshold` rebuild it.
///
/// # Errors
/// [`ShamirError::Parameters`], [`ShamirError::EmptySecret`].
pub fn split(
    random: &dyn Random,
    secret: &[u8],
    shares: u8,
    threshold: u8,
) -> Result<Vec<SecretBytes>, ShamirError> {
    if threshold < 2 || shares < threshold {
        return Err(ShamirError::Parameters);
    }
    if secret.is_empty() {
        return Err(ShamirError::EmptySecret);
    }
    let mut points: Vec<u8> = (1..=255).collect();
    // Fisher-Yates: distinct, non-zero, scattered.
    for i in (1..points.len()).rev() {
        let other = usize::try_from(random.below(i as u64 + 1)).unwrap_or(0);
        points.swap(i, other);
    }
    points.truncate(usize::from(shares));
    let mut parts: Vec<Vec<u8>> = points.iter().map(|_| Vec::with_capacity(secret.len() + 1)).collect();
    let mut coefficients = Zeroizing::new(vec![0u8; usize::from(threshold)]);
    for byte in secret {
        random.fill(&mut coefficients[1..]);
        coefficients[0] = *byte;
        for (part, x) in parts.iter_mut().zip(&points) {
            part.push(evaluate(&coefficients, *x));
        }
    }
    for (part, x) in parts.iter_mut().zip(&points) {
        part.push(*x);
    }
    Ok(parts.into_iter().map(SecretBytes::new).collect())
}

/// Rebuilds the secret from shares. Too few or foreign shares give wrong bytes, not an error: the caller verifies.
///
/// # Errors
/// [`ShamirError::TooFew`], [`ShamirError::Length`], [`ShamirError::Duplicate`].
pub fn combine(parts: &[SecretBytes]) -> Result<SecretBytes, ShamirError> {
    let (first, rest) = parts.split_first().ok_or(ShamirError::TooFew)?;
    if rest.is_empty() {
        return Err(ShamirError::TooFew);
    }
    let length = first.expose().len();
    if length < 2 || rest.iter().any(|part| part.expose().len() != length) {
        return Err(ShamirError::Length);
    }
    let points: Vec<u8> = parts.iter().map(|part| part.expose()[length - 1]).collect();
    let duplicate = points.iter().enumerate().any(|(i, x)| points[..i].contains(x));
    if duplicate || points.contains(&0) {
        return Err(ShamirError::Duplicate);
    }
    let weights: Vec<u8> = points.iter().map(|x| weight_at_zero(*x, &points)).collect();
    let secret = (0..length - 1)
        .map(|at| parts.iter().zip(&weights).fold(0, |sum, (part, w)| sum ^ multiply(part.expose()[at], *w)))
        .collect();
    Ok(SecretBytes::new(secret))
}

/// Lagrange's basis polynomial of the point `x`, at zero.
fn weight_at_zero(x: u8, points: &[u8]) -> u8 {
    points
        .iter()
        .filter(|other| **other != x)
        .fold(1, |w, other| multiply(w, multiply(*other, invert(*other ^ x))))
}

fn evaluate(coefficients: &[u8], x: u8) -> u8 {
    coefficients.iter().rev().fold(0, |value, coefficient| multiply(value, x) ^ coefficient)
}

/// Multiplication modulo x^8 + x^4 + x^3 + x + 1, in constant time.
fn multiply(a: u8, b: u8) -> u8 {
    let mut product = 0u8;
    for bit in (0..8).rev() {
        let carry = (product >> 7).wrapping_neg() & 0x1b;
        product = (product << 1) ^ carry ^ (((b >> bit) & 1).wrapping_neg() & a);
    }
    product
}

/// The inverse, as a^254; zero for zero.
fn invert(a: u8) -> u8 {
    let mut power = a;
    let mut result = 1;
    for _ in 0..7 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::random::{SeededRandom, SystemRandom};

    #[test]
    fn the_field_is_that_of_aes() {
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        assert_eq!(multiply(3, 7), 9);
        assert_eq!(invert(0x53), 0xca);
        for a in 1..=255u8 {
            assert_eq!(multiply(a, invert(a)), 1, "{a}");
        }
    }

    #[test]
    fn shares_written_by_hand_in_the_format_combine() {
        // f(x) = 0x42 + 0x0a x over one byte: shares are (y ‖ x).
        let share = |x: u8| SecretBytes::new(vec![0x42 ^ multiply(0x0a, x), x]);
        assert_eq!(share(1).expose(), [0x48, 1]);
        assert_eq!(share(200).expose()[1], 200);
        assert_eq!(combine(&[share(200), share(1)]).expect("combined").expose(), [0x42]);
    }

    #[test]
    fn wrong_parameters_and_shares_are_refused() {
        let random = SystemRandom;
        assert_eq!(split(&random, b"x", 3, 1).err(), Some(ShamirError::Parameters));
        assert_eq!(split(&random, b"x", 2, 3).err(), Some(ShamirError::Parameters));
        assert_eq!(split(&random, b"", 3, 2).err(), Some(ShamirError::EmptySecret));
        let share = |bytes: &[u8]| SecretBytes::new(bytes.to_vec());
        assert_eq!(combine(&[share(&[1, 2])]).err(), Some(ShamirError::TooFew));
        assert_eq!(combine(&[share(&[1, 2]), share(&[1, 2, 3])]).err(), Some(ShamirError::Length));
        assert_eq!(combine(&[share(&[1, 2]), share(&[3, 2])]).err(), Some(ShamirError::Duplicate));
        assert_eq!(combine(&[share(&[1, 0]), share(&[3, 2])]).err(), Some(ShamirError::Duplicate));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_threshold_of_shares_rebuilds_and_one_less_does_not(
            secret in proptest::collection::vec(any::<u8>(), 16..40),
            shares in 2u8..9, missing in 0u8..7, seed in any::<u64>(),
        ) {
            let threshold = shares.saturating_sub(missing).max(2);
            let random = SeededRandom::new(seed);
            let parts = split(&random, &secret, shares, threshold).expect("split");
            prop_assert_eq!(parts.len(), usize::from(shares));
            let skip = usize::from(shares - threshold);
            let rebuilt = combine(&parts[skip..]).expect("combined");
            prop_assert_eq!(rebuilt.expose(), secret.as_slice());
            if threshold > 2 {
                let short = combine(&parts[skip + 1..]).expect("combined");
                prop_assert_ne!(short.expose(), secret.as_slice());
            }
        }
    }
}
