//! Algorithms: no storage, no network.

pub mod x509;
