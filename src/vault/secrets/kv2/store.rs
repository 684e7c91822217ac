//! Where settings, keys and versions lie in the engine's storage.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::model::{Config, KeyMetadata};
use crate::vault::logical::{LogicalError, StorageView, record};

/// Most version data that one transaction removes beside its other work: the smallest backend takes 64 operations.
pub(super) const PURGED_VERSIONS_MAX: u64 = 32;

const CONFIG: &str = "config";
const GARBAGE: &str = "garbage/";

/// Versions of a deleted key that are still to be removed.
#[derive(Debug, Serialize, Deserialize)]
struct Garbage {
    from: u64,
    /// One past the last.
    to: u64,
}

pub(super) async fn config(storage: &dyn StorageView) -> Result<Config, LogicalError> {
    Ok(record::read(storage, CONFIG).await?.unwrap_or_default())
}

pub(super) async fn put_config(storage: &dyn StorageView, config: &Config) -> Result<(), LogicalError> {
    record::write(storage, CONFIG, config).await
}

/// Whether `key` can name a secret, and not only a folder.
fn is_name(key: &str) -> bool {
    !key.is_empty() && !key.ends_with('/')
}

pub(super) async fn exists(storage: &dyn StorageView, key: &str) -> Result<bool, LogicalError> {
    Ok(is_name(key) && storage.contains(&metadata_key(key)).await?)
}

pub(super) async fn metadata(
    storage: &dyn StorageView,
    key: &str,
) -> Result<Option<KeyMetadata>, LogicalError> {
    if !is_name(key) {
        return Ok(None);
    }
    record::read(storage, &metadata_key(key)).await
}

pub(super) async fn put_metadata(
    storage: &dyn StorageView,
    key: &str,
    metadata: &KeyMetadata,
) -> Result<(), LogicalError> {
    record::write(storage, &metadata_key(key), metadata).await
}

/// The key below which keys with the prefix `folder` are listed.
pub(super) fn metadata_key(folder: &str) -> String {
    format!("metadata/{folder}")
}

/// The data of a version.
///
/// # Errors
/// [`LogicalError::Internal`] if it is not there: only a readable version is asked for.
pub(super) async fn data(
    storage: &dyn StorageView,
    metadata: &KeyMetadata,
    version: u64,
) -> Result<Map<String, Value>, LogicalError> {
    record::read(storage, &version_key(&metadata.id, version))
        .await?
        .ok_or_else(|| LogicalError::Internal("could not find version data".to_owned()))
}

pub(super) async fn put_data(
    storage: &dyn StorageView,
    metadata: &KeyMetadata,
    version: u64,
    data: &Map<String, Value>,
) -> Result<(), LogicalError> {
    record::write(storage, &version_key(&metadata.id, version), data).await
}

pub(super) async fn delete_data(
    storage: &dyn StorageView,
    id: &str,
    version: u64,
) -> Result<(), LogicalError> {
    storage.delete(&version_key(id, version)).await
}

/// Removes a key and all that belongs to it; what does not fit into one transaction is noted as garbage.
pub(super) async fn delete_key(
    storage: &dyn StorageView,
    key: &str,
    metadata: &KeyMetadata,
) -> Result<(), LogicalError> {
    storage.delete(&metadata_key(key)).await?;
    let garbage = Garbage { from: metadata.purged_below, to: metadata.current_version + 1 };
    remove(storage, &metadata.id, garbage, PURGED_VERSIONS_MAX, false).await.map(|_| ())
}

/// Removes some garbage that earlier deletions left.
pub(super) async fn sweep(storage: &dyn StorageView) -> Result<(), LogicalError> {
    let mut budget = PURGED_VERSIONS_MAX / 2;
    for id in storage.list(GARBAGE, None, 4).await? {
        if let Some(garbage) = record::read::<Garbage>(storage, &garbage_key(&id)).await? {
            budget -= remove(storage, &id, garbage, budget, true).await?;
        }
        if budget == 0 {
            break;
        }
    }
    Ok(())
}

/// Removes at most `budget` versions of `garbage` and notes the rest; says how many.
async fn remove(
    storage: &dyn StorageView,
    id: &str,
    garbage: Garbage,
    budget: u64,
    is_noted: bool,
) -> Result<u64, LogicalError> {
    let to = garbage.to.min(garbage.from.saturating_add(budget));
    for version in garbage.from..to {
        delete_data(storage, id, version).await?;
    }
    if to < garbage.to {
        record::write(storage, &garbage_key(id), &Garbage { from: to, to: garbage.to }).await?;
    } else if is_noted {
        storage.delete(&garbage_key(id)).await?;
    }
    Ok(to.saturating_sub(garbage.from))
}

fn version_key(id: &str, version: u64) -> String {
    format!("versions/{id}/{version}")
}

fn garbage_key(id: &str) -> String {
    format!("{GARBAGE}{id}")
}
