//! Every path: read, write, delete and list the token's own values.

use serde_json::{Map, Value};

use super::model;
use crate::vault::logical::{Fields, LogicalError, Request, Response, StorageView, record};

pub(super) const UNWRAP_WARNING: &str = "Reading from 'cubbyhole/response' is deprecated. Please use sys/wrapping/unwrap to \
    unwrap responses, as it provides additional security checks and other benefits.";

pub(super) async fn read(
    request: &Request,
    storage: &dyn StorageView,
) -> Result<Option<Response>, LogicalError> {
    let value = record::read::<Map<String, Value>>(storage, &model::key(request)?).await?;
    Ok(value.map(Response::data).map(|response| match request.path.as_str() {
        "response" => response.with_warning(UNWRAP_WARNING),
        _ => response,
    }))
}

pub(super) async fn write(
    request: &Request,
    storage: &dyn StorageView,
) -> Result<Option<Response>, LogicalError> {
    let key = model::key(request)?;
    if request.path.is_empty() {
        return Err(LogicalError::Invalid("missing path".to_owned()));
    }
    if request.data.is_empty() {
        return Err(LogicalError::Invalid("missing data fields".to_owned()));
    }
    record::write(storage, &key, &request.data).await?;
    Ok(None)
}

pub(super) async fn delete(
    request: &Request,
    storage: &dyn StorageView,
) -> Result<Option<Response>, LogicalError> {
    storage.delete(&model::key(request)?).await?;
    Ok(None)
}

pub(super) async fn list(
    request: &Request,
    storage: &dyn StorageView,
) -> Result<Option<Response>, LogicalError> {
    let mut prefix = model::key(request)?;
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    Ok(Response::keys(record::list(storage, &prefix, Fields::new(&request.data)).await?))
}
