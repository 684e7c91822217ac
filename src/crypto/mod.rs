//! Algorithms: no storage, no network.

pub mod aead;
pub mod hash;
pub mod kdf;
pub mod shamir;
pub mod x509;
