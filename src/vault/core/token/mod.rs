//! Tokens: what is stored of them, their time to live, and the store.

mod entry;
mod revoke;
mod store;
mod sweep;
mod ttl;

#[cfg(test)]
mod tests;

pub use entry::{IssuedToken, NewToken, TokenEntry};
pub use ttl::{MAX_TTL_SECONDS, TtlError, TtlRequest, ttl};

pub(super) use store::{Maker, TokenStore};
pub(super) use sweep::{end_unmounted, finish_revoked};
