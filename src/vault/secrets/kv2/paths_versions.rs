//! `delete/<path>`, `undelete/<path>`, `destroy/<path>`: delete versions softly, bring them back, destroy them.

use super::error::Kv2Error;
use super::{Call, store};
use crate::vault::logical::{LogicalError, Response};

pub(super) async fn delete(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    let numbers = versions(call)?;
    let now = call.system.time();
    let Some(mut metadata) = store::metadata(call.storage, key).await? else { return Ok(None) };
    for number in numbers {
        if let Some(version) = metadata.versions.get_mut(&number).filter(|version| version.is_readable(now)) {
            version.deletion = Some(now);
        }
    }
    store::put_metadata(call.storage, key, &metadata).await?;
    Ok(None)
}

pub(super) async fn undelete(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    let numbers = versions(call)?;
    let config = store::config(call.storage).await?;
    let Some(mut metadata) = store::metadata(call.storage, key).await? else { return Ok(None) };
    let deletion = metadata.deletion_of_new(&config, call.system.time());
    for number in numbers {
        if let Some(version) = metadata.versions.get_mut(&number).filter(|version| !version.destroyed) {
            version.deletion = deletion;
        }
    }
    store::put_metadata(call.storage, key, &metadata).await?;
    Ok(None)
}

pub(super) async fn destroy(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    let numbers = versions(call)?;
    let Some(mut metadata) = store::metadata(call.storage, key).await? else { return Ok(None) };
    for number in numbers {
        if let Some(version) = metadata.versions.get_mut(&number).filter(|version| !version.destroyed) {
            version.destroyed = true;
            store::delete_data(call.storage, &metadata.id, number).await?;
        }
    }
    store::put_metadata(call.storage, key, &metadata).await?;
    Ok(None)
}

/// The field `versions`; numbers that no version can have are left out, as they name nothing.
fn versions(call: &Call<'_>) -> Result<Vec<u64>, LogicalError> {
    let given = call.fields.integers("versions")?.unwrap_or_default();
    if given.is_empty() {
        return Err(Kv2Error::NoVersions.into());
    }
    Ok(given.into_iter().filter_map(|number| u64::try_from(number).ok()).collect())
}
