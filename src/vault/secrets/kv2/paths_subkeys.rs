//! `subkeys/<path>`: the structure of a value without its values.

use serde_json::{Map, Value};

use super::model::remove_values;
use super::paths_data::find_version;
use super::{Call, not_found, store};
use crate::vault::logical::{LogicalError, Response};

pub(super) async fn read(call: &Call<'_>, key: &str) -> Result<Option<Response>, LogicalError> {
    let depth = call.fields.count("depth")?.unwrap_or(0);
    let Some((metadata, number, version)) = find_version(call, key).await? else { return Ok(None) };
    let mut answer = Map::new();
    answer.insert("metadata".to_owned(), metadata.version_json(number, &version).into());
    if !version.is_readable(call.system.time()) {
        answer.insert("subkeys".to_owned(), Value::Null);
        return Ok(Some(not_found(Response::data(answer))));
    }
    let mut data = store::data(call.storage, &metadata, number).await?;
    remove_values(&mut data, depth);
    answer.insert("subkeys".to_owned(), data.into());
    Ok(Some(Response::data(answer)))
}
