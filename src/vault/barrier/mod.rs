//! The barrier: nothing but ciphertext and the names of records goes below it.

mod entry;
mod error;
mod keyring;
mod stored;
mod transaction;
mod view;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use error::BarrierError;
pub use keyring::{Barrier, KEYRING_PATH, KeyRecords, KeyStatus, Keyring, Keys, NewRoot, ROOT_KEY_PATH};
pub use stored::Stored;
pub use transaction::BarrierTransaction;
pub use view::PrefixView;
