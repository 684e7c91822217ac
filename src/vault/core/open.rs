//! [`Open`]: what an unsealed node holds in memory. Sealing drops it, and with it every key.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cache::Decoded;
use super::mounts::Router;
use super::policy::{Acl, Policy};
use super::records;
use super::token::TokenEntry;
use crate::base::id;
use crate::crypto::hash::hmac_sha256;
use crate::vault::barrier::{Barrier, BarrierError, BarrierTransaction, Stored};
use crate::vault::logical::LogicalError;

/// The cluster's own secrets, made by init.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct ClusterRecord {
    /// UUID.
    pub(super) id: String,
    /// Name.
    pub(super) name: String,
    /// Salt of token and accessor keys.
    pub(super) token_salt: Stored,
    /// The authority of node certificates, as the initialiser gave it.
    pub(super) authority: Stored,
}

/// Cached ACLs: the policies that one was made from, and the ACL.
pub(super) type MergedAcl = (Vec<Arc<Policy>>, Arc<Acl>);

/// What an unsealed node holds.
pub(super) struct Open {
    pub(super) barrier: Arc<Barrier>,
    pub(super) cluster: ClusterRecord,
    pub(super) tokens: Decoded<TokenEntry>,
    pub(super) policies: Decoded<Policy>,
    pub(super) routers: Decoded<Router>,
    /// The count of encryptions that was stored last.
    pub(super) count_stored: std::sync::atomic::AtomicU64,
    pub(super) acls: std::sync::Mutex<std::collections::HashMap<Vec<String>, MergedAcl>>,
}

impl Open {
    pub(super) fn new(barrier: Arc<Barrier>, cluster: ClusterRecord) -> Self {
        Self {
            barrier,
            cluster,
            tokens: Decoded::new(4096),
            policies: Decoded::new(1024),
            routers: Decoded::new(1),
            count_stored: std::sync::atomic::AtomicU64::default(),
            acls: std::sync::Mutex::default(),
        }
    }

    /// The key of a token or accessor.
    pub(super) fn salted(&self, text: &str) -> String {
        id::hex(&hmac_sha256(self.cluster.token_salt.0.expose(), text.as_bytes()))
    }
}

/// Reads `key` and decodes it, or takes the decoded form of the same ciphertext from the cache. The read joins the
/// transaction's read set either way.
pub(super) async fn read_cached<T>(
    transaction: &BarrierTransaction,
    cache: &Decoded<T>,
    key: &str,
    decode: impl FnOnce(&[u8]) -> Result<T, LogicalError>,
) -> Result<Option<Arc<T>>, LogicalError> {
    if let Some(written) = transaction.own_secret(key) {
        return decode(written.expose()).map(|value| Some(Arc::new(value)));
    }
    let Some(record) = transaction.get_sealed(key).await? else { return Ok(None) };
    if let Some(value) = cache.get(key, &record) {
        return Ok(Some(value));
    }
    let plain = transaction.decrypt(key, &record).await?;
    let value = Arc::new(decode(plain.expose())?);
    cache.put(key, record, Arc::clone(&value));
    Ok(Some(value))
}

/// Decodes a JSON record.
pub(super) fn from_json<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, LogicalError> {
    serde_json::from_slice(bytes).map_err(|error| {
        // The error may quote the record: only its place is told.
        let reason = format!("line {}, column {}", error.line(), error.column());
        BarrierError::Damaged { path: key.to_owned(), reason }.into()
    })
}

/// Encodes a JSON record.
pub(super) fn to_json<T: Serialize>(
    key: &str,
    value: &T,
) -> Result<crate::base::secret::SecretBytes, LogicalError> {
    serde_json::to_vec(value)
        .map(crate::base::secret::SecretBytes::new)
        .map_err(|error| LogicalError::Internal(format!("record {key} cannot be encoded: {error}")))
}

/// The mount table with its engines.
pub(super) async fn router(
    transaction: &BarrierTransaction,
    open: &Open,
    parts: &super::parts::CoreParts,
) -> Result<Arc<Router>, LogicalError> {
    let make = |bytes: &[u8]| {
        let table = from_json(records::MOUNTS, bytes)?;
        Ok(Router::new(table, &parts.kernel_engines, &parts.engines, &parts.auth_methods))
    };
    let found = read_cached(transaction, &open.routers, records::MOUNTS, make).await?;
    found.ok_or_else(|| LogicalError::Internal("the mount table is missing".to_owned()))
}
