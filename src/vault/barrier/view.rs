//! [`PrefixView`]: the storage of one mount, as its engine sees it.

use async_trait::async_trait;

use super::transaction::BarrierTransaction;
use crate::vault::logical::{LogicalError, SecretValue, StorageView};

/// Longest key inside a mount, in bytes; with the mount's prefix it stays below the storage's limit.
const MAX_KEY_BYTES: usize = 900;

/// The part of a transaction that lies below a prefix.
#[derive(Debug)]
pub struct PrefixView<'a> {
    transaction: &'a BarrierTransaction,
    prefix: String,
}

impl<'a> PrefixView<'a> {
    /// The view below `prefix`, which ends in `/`.
    pub fn new(transaction: &'a BarrierTransaction, prefix: String) -> Self {
        Self { transaction, prefix }
    }

    fn full(&self, key: &str) -> Result<String, LogicalError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(LogicalError::Invalid(format!("the path is longer than {MAX_KEY_BYTES} bytes")));
        }
        // No engine may reach out of its prefix, and backends accept no control characters.
        if key.split('/').any(|segment| segment == "..") || key.chars().any(char::is_control) {
            return Err(LogicalError::Invalid("relative paths not supported".to_owned()));
        }
        Ok(format!("{}{key}", self.prefix))
    }
}

#[async_trait]
impl StorageView for PrefixView<'_> {
    async fn get(&self, key: &str) -> Result<Option<SecretValue>, LogicalError> {
        Ok(self.transaction.get(&self.full(key)?).await?)
    }

    async fn contains(&self, key: &str) -> Result<bool, LogicalError> {
        Ok(self.transaction.contains(&self.full(key)?).await?)
    }

    async fn put(&self, key: &str, value: SecretValue) -> Result<(), LogicalError> {
        Ok(self.transaction.put(&self.full(key)?, value)?)
    }

    async fn delete(&self, key: &str) -> Result<(), LogicalError> {
        Ok(self.transaction.delete(&self.full(key)?)?)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, LogicalError> {
        Ok(self.transaction.names(&self.full(prefix)?, after, limit).await?)
    }

    async fn scan(&self, prefix: &str, limit: usize) -> Result<Vec<String>, LogicalError> {
        let keys = self.transaction.keys(&self.full(prefix)?, None, limit).await?;
        Ok(keys.into_iter().map(|key| key[self.prefix.len()..].to_owned()).collect())
    }
}
