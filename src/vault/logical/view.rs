//! The two views that an engine gets: its own storage, and the system.

use async_trait::async_trait;

use super::error::LogicalError;
use crate::base::clock::UnixMillis;

/// A decrypted value; wiped on drop.
pub type SecretValue = crate::base::secret::SecretBytes;

/// An engine's own storage within one request. Reads see the request's own writes; nothing is stored until the
/// request's transaction commits.
#[async_trait]
pub trait StorageView: Send + Sync {
    /// Reads `key`; `None` if it is absent.
    ///
    /// # Errors
    /// When the storage cannot answer or the value cannot be decrypted.
    async fn get(&self, key: &str) -> Result<Option<SecretValue>, LogicalError>;

    /// Whether there is a value at `key`. Nothing is decrypted for it.
    ///
    /// # Errors
    /// When the storage cannot answer.
    async fn contains(&self, key: &str) -> Result<bool, LogicalError>;

    /// Stores `value` under `key`.
    ///
    /// # Errors
    /// [`LogicalError::NeedsActive`] on a standby; too large values are refused.
    async fn put(&self, key: &str, value: SecretValue) -> Result<(), LogicalError>;

    /// Removes `key`; an absent key is no error.
    ///
    /// # Errors
    /// [`LogicalError::NeedsActive`] on a standby.
    async fn delete(&self, key: &str) -> Result<(), LogicalError>;

    /// Lists one level below `prefix` (empty or ending in `/`): names, with a trailing `/` for folders, in byte order,
    /// greater than `after`, at most `limit`.
    ///
    /// # Errors
    /// When the storage cannot answer.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, LogicalError>;

    /// Lists every key below `prefix`, recursively, at most `limit`.
    ///
    /// # Errors
    /// When the storage cannot answer.
    async fn scan(&self, prefix: &str, limit: usize) -> Result<Vec<String>, LogicalError>;
}

/// What an engine may ask of the system.
pub trait SystemView: Send + Sync {
    /// Cluster time, by which expiry is judged.
    fn time(&self) -> UnixMillis;
    /// Default lease TTL of the mount, in seconds.
    fn default_lease_ttl_seconds(&self) -> u64;
    /// Most lease TTL of the mount, in seconds.
    fn max_lease_ttl_seconds(&self) -> u64;
    /// Randomness for keys and identifiers.
    fn random(&self) -> &dyn crate::base::random::Random;
}
