//! Paced removal of what has ended: each step is one small transaction, and any active node resumes it.

use super::revoke::RevokedRecord;
use super::store::{TokenStore, children_prefix};
use crate::vault::barrier::BarrierTransaction;
use crate::vault::core::open::from_json;
use crate::vault::core::records;
use crate::vault::logical::LogicalError;

/// Records that one step removes.
const RECORDS_AT_ONCE: usize = 32;

/// Takes one step for the revoked token whose intent lies at `intent`; true if nothing is left to do.
pub(in crate::vault::core) async fn finish_revoked(
    store: &TokenStore<'_>,
    intent: &str,
) -> Result<bool, LogicalError> {
    let Some(record) = store.transaction.get(intent).await? else { return Ok(true) };
    let record: RevokedRecord = from_json(intent, record.expose())?;
    let key = &intent[records::REVOKE_PREFIX.len()..];
    if record.frees_children && !store.free_children(key).await? {
        return Ok(false);
    }
    let prefix = children_prefix(key);
    if let Some(link) = store.transaction.keys(&prefix, None, 1).await?.pop() {
        match store.entry(&link[prefix.len()..]).await? {
            Some(child) => store.revoke(&child).await?,
            None => store.transaction.delete(&link)?,
        }
        return Ok(false);
    }
    let emptied = store.empty_cubbyhole(&record.cubbyhole_id).await?;
    if emptied {
        store.transaction.delete(intent)?;
    }
    Ok(emptied)
}

/// Takes one step for the unmounted storage whose intent lies at `intent`; true if nothing is left to do.
pub(in crate::vault::core) async fn end_unmounted(
    transaction: &BarrierTransaction,
    intent: &str,
) -> Result<bool, LogicalError> {
    let Some(prefix) = transaction.get(intent).await? else { return Ok(true) };
    let prefix = std::str::from_utf8(prefix.expose())
        .map_err(|_| LogicalError::Internal(format!("record {intent} is damaged")))?;
    let keys = transaction.keys(prefix, None, RECORDS_AT_ONCE + 1).await?;
    for key in keys.iter().take(RECORDS_AT_ONCE) {
        transaction.delete(key)?;
    }
    let done = keys.len() <= RECORDS_AT_ONCE;
    if done {
        transaction.delete(intent)?;
    }
    Ok(done)
}
