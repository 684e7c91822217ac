//! `config`: settings of the mount.

use super::error::Kv2Error;
use super::{Call, store};
use crate::vault::logical::{LogicalError, Response};

pub(super) async fn read(call: &Call<'_>) -> Result<Option<Response>, LogicalError> {
    Ok(Some(Response::data(store::config(call.storage).await?.to_json())))
}

pub(super) async fn write(call: &Call<'_>) -> Result<Option<Response>, LogicalError> {
    let max_versions = max_versions(call)?;
    let cas_required = call.fields.boolean("cas_required")?;
    let delete_version_after = call.fields.signed_seconds("delete_version_after")?;
    let mut config = store::config(call.storage).await?;
    config.max_versions = max_versions.unwrap_or(config.max_versions);
    config.cas_required = cas_required.unwrap_or(config.cas_required);
    config.delete_version_after_seconds = delete_version_after.unwrap_or(config.delete_version_after_seconds);
    store::put_config(call.storage, &config).await?;
    store::sweep(call.storage).await?;
    Ok(None)
}

/// Reads the field `max_versions`, which keys have as well.
pub(super) fn max_versions(call: &Call<'_>) -> Result<Option<u32>, LogicalError> {
    let given = call.fields.integer("max_versions")?;
    Ok(given.map(u32::try_from).transpose().map_err(|_| Kv2Error::MaxVersions)?)
}
