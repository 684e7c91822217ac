//! KV version 2: values with versions, check-and-set, soft deletion and metadata.
//!
//! Storage of a mount (`<id>` is drawn when a key is first written, so a key that is written anew after its metadata
//! was deleted never meets versions of its former life):
//!
//! | key | holds |
//! |---|---|
//! | `config` | settings of the mount |
//! | `metadata/<path>` | metadata of a key and of all its versions |
//! | `versions/<id>/<n>` | the JSON of one version's data |
//! | `garbage/<id>` | versions of a deleted key that did not fit into the transaction that deleted it |
//!
//! **Repeatable.** Reads and lists are; no write is. Without `cas` a repeated data write makes a second version; with
//! `cas` it is refused although it succeeded; a repeated delete or undelete could undo what another client did in
//! between.

mod error;
mod model;
mod paths_config;
mod paths_data;
mod paths_invalid;
mod paths_metadata;
mod paths_subkeys;
mod paths_versions;
mod route;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use self::route::Route;
use crate::vault::logical::{
    Engine, Fields, LogicalError, Operation, Request, Response, RouteTraits, StorageView, SystemView,
};

/// The engine; all its state is in storage.
struct Kv2;

/// Makes the engine.
///
/// # Errors
/// None: its settings are in its storage.
pub fn factory(_options: &BTreeMap<String, String>) -> Result<Arc<dyn Engine>, LogicalError> {
    Ok(Arc::new(Kv2))
}

#[async_trait]
impl Engine for Kv2 {
    fn kind(&self) -> &'static str {
        "kv"
    }

    fn route(&self, operation: Operation, _path: &str) -> RouteTraits {
        RouteTraits { repeatable: !operation.may_write(), ..RouteTraits::default() }
    }

    async fn exists(
        &self,
        request: &Request,
        storage: &dyn StorageView,
    ) -> Result<Option<bool>, LogicalError> {
        match Route::of(&request.path) {
            Route::Data(key) | Route::Metadata(key) => Ok(Some(store::exists(storage, key).await?)),
            _ => Ok(None),
        }
    }

    async fn handle(
        &self,
        request: &Request,
        storage: &dyn StorageView,
        system: &dyn SystemView,
    ) -> Result<Option<Response>, LogicalError> {
        let call = Call { fields: Fields::new(&request.data), storage, system };
        let route = Route::of(&request.path);
        let response = match (&route, request.operation) {
            (Route::Config, Operation::Read) => paths_config::read(&call).await,
            (Route::Config, Operation::Create | Operation::Update) => paths_config::write(&call).await,
            (Route::Data(key), Operation::Read) => paths_data::read(&call, key).await,
            (Route::Data(key), Operation::Create | Operation::Update) => paths_data::write(&call, key).await,
            (Route::Data(key), Operation::Patch) => paths_data::patch(&call, key).await,
            (Route::Data(key), Operation::Delete) => paths_data::delete(&call, key).await,
            (Route::Delete(key), Operation::Create | Operation::Update) => {
                paths_versions::delete(&call, key).await
            }
            (Route::Undelete(key), Operation::Create | Operation::Update) => {
                paths_versions::undelete(&call, key).await
            }
            (Route::Destroy(key), Operation::Create | Operation::Update) => {
                paths_versions::destroy(&call, key).await
            }
            (Route::Metadata(key), Operation::Read) => paths_metadata::read(&call, key).await,
            (Route::Metadata(key), Operation::Create | Operation::Update) => {
                paths_metadata::write(&call, key).await
            }
            (Route::Metadata(key), Operation::Patch) => paths_metadata::patch(&call, key).await,
            (Route::Metadata(key), Operation::Delete) => paths_metadata::delete(&call, key).await,
            (Route::Metadata(key), Operation::List) => paths_metadata::list(&call, key).await,
            (Route::Subkeys(key), Operation::Read) => paths_subkeys::read(&call, key).await,
            (Route::Invalid, operation) => return Ok(Some(paths_invalid::explain(operation, &request.path))),
            _ => Err(LogicalError::UnsupportedOperation),
        }?;
        let warning = call.fields.unrecognized(route.fields());
        Ok(response.map(|response| match warning {
            Some(warning) => response.with_warning(warning),
            None => response,
        }))
    }
}

/// What a path's handler works with.
struct Call<'a> {
    fields: Fields<'a>,
    storage: &'a dyn StorageView,
    system: &'a dyn SystemView,
}

/// A 404 that keeps the envelope.
fn not_found(response: Response) -> Response {
    Response { status: Some(404), ..response }
}
