//! `metadata/<path>`: list keys; read, set, patch and delete a key's metadata.

use std::collections::BTreeMap;

use super::error::Kv2Error;
use super::model::{KeyMetadata, check_custom_metadata, custom_metadata};
use super::paths_config::max_versions;
use super::{Call, not_found, store};
use crate::base::id;
use crate::vault::logical::{LogicalError, Response, record};

const CAS_IGNORED_WARNING: &str =
    "\"cas_required\" set to false, but is mandated by backend config. This value will be ignored.";

pub(super) async fn list(call: &Call<'_>, folder: &str) -> Result<Option<Response>, LogicalError> {
    let mut prefix = store::metadata_key(folder);
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    Ok(Response::keys(record::list(call.storage, &prefix, call.fields).await?))
}

pub(super) async fn read(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    Ok(store::metadata(call.storage, key).await?.map(|metadata| Response::data(metadata.to_json())))
}

pub(super) async fn write(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    require_key(key)?;
    let change = Change::read(call)?;
    if change.is_empty() {
        return Ok(None);
    }
    let metadata = match store::metadata(call.storage, key).await? {
        Some(metadata) => metadata,
        None => KeyMetadata::new(id::base62(call.system.random(), 22), call.system.time()),
    };
    let custom = match call.fields.object("custom_metadata")? {
        Some(input) => Some(custom_metadata(input)?),
        None => metadata.custom_metadata.clone(),
    };
    store_change(call, key, metadata, change, custom).await
}

pub(super) async fn patch(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    require_key(key)?;
    let change = Change::read(call)?.with_nulls(call);
    let Some(metadata) = store::metadata(call.storage, key).await? else {
        return Ok(Some(not_found(Response::default())));
    };
    let custom = match call.fields.object("custom_metadata")? {
        Some(patch) => {
            let mut custom = metadata.custom_metadata.clone().unwrap_or_default();
            custom.retain(|name, _| !patch.contains_key(name));
            let set = patch.iter().filter(|(_, value)| !value.is_null());
            custom
                .extend(custom_metadata(&set.map(|(name, value)| (name.clone(), value.clone())).collect())?);
            Some(custom)
        }
        None if call.fields.is_null("custom_metadata") => None,
        None => metadata.custom_metadata.clone(),
    };
    store_change(call, key, metadata, change, custom).await
}

pub(super) async fn delete(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    if let Some(metadata) = store::metadata(call.storage, key).await? {
        store::delete_key(call.storage, key, &metadata).await?;
    }
    store::sweep(call.storage).await?;
    Ok(None)
}

/// The members that are set by value.
struct Change {
    max_versions: Option<u32>,
    cas_required: Option<bool>,
    delete_version_after_seconds: Option<i64>,
    has_custom_metadata: bool,
}

impl Change {
    fn read(call: &Call<'_>) -> Result<Self, LogicalError> {
        let delete_version_after = call.fields.seconds("delete_version_after")?;
        Ok(Self {
            max_versions: max_versions(call)?,
            cas_required: call.fields.boolean("cas_required")?,
            delete_version_after_seconds: delete_version_after.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            has_custom_metadata: call.fields.object("custom_metadata")?.is_some(),
        })
    }

    /// In a merge patch null sets a member back to what it is without being set.
    fn with_nulls(mut self, call: &Call<'_>) -> Self {
        let reset = |name: &str| call.fields.is_null(name);
        self.max_versions = self.max_versions.or_else(|| reset("max_versions").then_some(0));
        self.cas_required = self.cas_required.or_else(|| reset("cas_required").then_some(false));
        self.delete_version_after_seconds =
            self.delete_version_after_seconds.or_else(|| reset("delete_version_after").then_some(0));
        self
    }

    fn is_empty(&self) -> bool {
        self.max_versions.is_none()
            && self.cas_required.is_none()
            && self.delete_version_after_seconds.is_none()
            && !self.has_custom_metadata
    }
}

async fn store_change(
    call: &Call<'_>,
    key: &str,
    mut metadata: KeyMetadata,
    change: Change,
    custom: Option<BTreeMap<String, String>>,
) -> Result<Option<Response>, LogicalError> {
    if let Some(custom) = &custom {
        check_custom_metadata(custom)?;
    }
    metadata.max_versions = change.max_versions.unwrap_or(metadata.max_versions);
    metadata.cas_required = change.cas_required.unwrap_or(metadata.cas_required);
    metadata.delete_version_after_seconds =
        change.delete_version_after_seconds.unwrap_or(metadata.delete_version_after_seconds);
    metadata.custom_metadata = custom;
    let is_ignored = change.cas_required == Some(false) && store::config(call.storage).await?.cas_required;
    store::put_metadata(call.storage, key, &metadata).await?;
    Ok(is_ignored.then(|| Response::default().with_warning(CAS_IGNORED_WARNING)))
}

fn require_key(key: &str) -> Result<(), LogicalError> {
    if key.is_empty() || key.ends_with('/') { Err(Kv2Error::MissingPath.into()) } else { Ok(()) }
}
