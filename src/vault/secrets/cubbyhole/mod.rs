//! Cubbyhole: storage that belongs to one token and ends with it.
//!
//! Storage: the JSON of the value at `<cubbyhole id of the token>/<path>`. The token store wipes [`prefix_of`] the
//! token's cubbyhole when the token is revoked. No write is declared repeatable, as in KV version 1.

mod model;
mod paths_data;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

pub use model::prefix_of;

use crate::vault::logical::{
    Engine, LogicalError, Operation, Request, Response, RouteTraits, StorageView, SystemView,
};

/// The engine; all its state is in storage.
struct Cubbyhole;

/// Makes the engine.
///
/// # Errors
/// None: it has no options of its own.
pub fn factory(_options: &BTreeMap<String, String>) -> Result<Arc<dyn Engine>, LogicalError> {
    Ok(Arc::new(Cubbyhole))
}

#[async_trait]
impl Engine for Cubbyhole {
    fn kind(&self) -> &'static str {
        "cubbyhole"
    }

    fn route(&self, operation: Operation, _path: &str) -> RouteTraits {
        RouteTraits { repeatable: !operation.may_write(), ..RouteTraits::default() }
    }

    async fn exists(
        &self,
        request: &Request,
        storage: &dyn StorageView,
    ) -> Result<Option<bool>, LogicalError> {
        Ok(Some(storage.contains(&model::key(request)?).await?))
    }

    async fn handle(
        &self,
        request: &Request,
        storage: &dyn StorageView,
        _system: &dyn SystemView,
    ) -> Result<Option<Response>, LogicalError> {
        match request.operation {
            Operation::Read => paths_data::read(request, storage).await,
            Operation::List => paths_data::list(request, storage).await,
            Operation::Create | Operation::Update => paths_data::write(request, storage).await,
            Operation::Delete => paths_data::delete(request, storage).await,
            Operation::Patch => Err(LogicalError::UnsupportedOperation),
        }
    }
}
