//! Every path: read, write, delete and list values.

use serde_json::{Map, Value};

use super::model::lease_seconds;
use crate::vault::logical::{Fields, LogicalError, Request, Response, StorageView, SystemView, record};

pub(super) async fn read(
    request: &Request,
    storage: &dyn StorageView,
    system: &dyn SystemView,
) -> Result<Option<Response>, LogicalError> {
    let Some(value) = record::read::<Map<String, Value>>(storage, &request.path).await? else {
        return Ok(None);
    };
    let lease_duration_seconds = lease_seconds(&value, system.default_lease_ttl_seconds());
    Ok(Some(Response { lease_duration_seconds, ..Response::data(value) }))
}

pub(super) async fn write(
    request: &Request,
    storage: &dyn StorageView,
) -> Result<Option<Response>, LogicalError> {
    if request.path.is_empty() {
        return Err(LogicalError::Invalid("missing path".to_owned()));
    }
    if request.data.is_empty() {
        return Err(LogicalError::Invalid("missing data fields".to_owned()));
    }
    record::write(storage, &request.path, &request.data).await?;
    Ok(None)
}

pub(super) async fn delete(
    request: &Request,
    storage: &dyn StorageView,
) -> Result<Option<Response>, LogicalError> {
    storage.delete(&request.path).await?;
    Ok(None)
}

pub(super) async fn list(
    request: &Request,
    storage: &dyn StorageView,
) -> Result<Option<Response>, LogicalError> {
    let mut prefix = request.path.clone();
    if !prefix.is_empty() && !prefix.ends_with('/') {
        prefix.push('/');
    }
    Ok(Response::keys(record::list(storage, &prefix, Fields::new(&request.data)).await?))
}
