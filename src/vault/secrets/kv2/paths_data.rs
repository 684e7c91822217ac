//! `data/<path>`: read a version, write and patch the current one, delete it softly.

use serde_json::{Map, Value};

use super::error::Kv2Error;
use super::model::{Config, KeyMetadata, VersionMetadata, merge_patch};
use super::store::PURGED_VERSIONS_MAX;
use super::{Call, not_found, store};
use crate::base::id;
use crate::vault::logical::{LogicalError, Response};

pub(super) async fn read(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    let Some((metadata, number, version)) = find_version(call, key).await? else { return Ok(None) };
    let mut answer = Map::new();
    answer.insert("metadata".to_owned(), metadata.version_json(number, &version).into());
    if !version.is_readable(call.system.time()) {
        answer.insert("data".to_owned(), Value::Null);
        return Ok(Some(not_found(Response::data(answer))));
    }
    answer.insert("data".to_owned(), store::data(call.storage, &metadata, number).await?.into());
    Ok(Some(Response::data(answer)))
}

pub(super) async fn write(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    let data = call.fields.object("data")?.ok_or(Kv2Error::NoData)?;
    let options = call.fields.object("options")?;
    let config = store::config(call.storage).await?;
    let metadata = match store::metadata(call.storage, key).await? {
        Some(metadata) => metadata,
        None => KeyMetadata::new(id::base62(call.system.random(), 22), call.system.time()),
    };
    metadata.check_cas(&config, options)?;
    add_version(call, key, metadata, &config, data).await.map(Some)
}

pub(super) async fn patch(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    let patch = call.fields.object("data")?.ok_or(Kv2Error::NoData)?;
    let options = call.fields.object("options")?;
    let Some(metadata) = store::metadata(call.storage, key).await? else {
        return Ok(Some(not_found(Response::default())));
    };
    let config = store::config(call.storage).await?;
    metadata.check_cas(&config, options)?;
    let number = metadata.current_version;
    let Some(version) = metadata.versions.get(&number) else {
        return Ok(Some(not_found(Response::default())));
    };
    if !version.is_readable(call.system.time()) {
        return Ok(Some(not_found(Response::data(metadata.version_json(number, version)))));
    }
    let mut data = store::data(call.storage, &metadata, number).await?;
    merge_patch(&mut data, patch.clone());
    add_version(call, key, metadata, &config, &data).await.map(Some)
}

pub(super) async fn delete(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    let now = call.system.time();
    let Some(mut metadata) = store::metadata(call.storage, key).await? else { return Ok(None) };
    let Some(latest) = metadata.versions.get_mut(&metadata.current_version) else { return Ok(None) };
    if latest.is_readable(now) {
        latest.deletion = Some(now);
        store::put_metadata(call.storage, key, &metadata).await?;
    }
    Ok(None)
}

/// The version that the field `version` asks for, or else the current one; `None` if there is none.
pub(super) async fn find_version(
    call: &Call<'_>,
    key: &str,
) -> Result<Option<(KeyMetadata, u64, VersionMetadata)>, LogicalError> {
    let asked = call.fields.integer("version")?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let Some(metadata) = store::metadata(call.storage, key).await? else { return Ok(None) };
    let number = asked.unwrap_or(metadata.current_version);
    let Some(version) = metadata.versions.get(&number).cloned() else { return Ok(None) };
    Ok(Some((metadata, number, version)))
}

async fn add_version(
    call: &Call<'_>,
    key: &str,
    mut metadata: KeyMetadata,
    config: &Config,
    data: &Map<String, Value>,
) -> Result<Response, LogicalError> {
    metadata.add_version(config, call.system.time());
    let number = metadata.current_version;
    store::put_data(call.storage, &metadata, number, data).await?;
    for version in metadata.take_purge(PURGED_VERSIONS_MAX) {
        store::delete_data(call.storage, &metadata.id, version).await?;
    }
    store::put_metadata(call.storage, key, &metadata).await?;
    let version = metadata
        .versions
        .get(&number)
        .ok_or_else(|| LogicalError::Internal("the version just written is missing".to_owned()))?;
    Ok(Response::data(metadata.version_json(number, version)))
}
