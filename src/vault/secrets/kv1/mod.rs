//! KV version 1: values at paths, nothing remembered.
//!
//! Storage: the JSON of the value at the path itself. No write is declared repeatable: a write that is run again
//! after its outcome was unknown could bring back a value that another client has replaced meanwhile.

mod model;
mod paths_data;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::vault::logical::{
    Engine, LogicalError, Operation, Request, Response, RouteTraits, StorageView, SystemView,
};

/// The engine; all its state is in storage.
struct Kv1;

/// Makes the engine.
///
/// # Errors
/// None: it has no options of its own.
pub fn factory(_options: &BTreeMap<String, String>) -> Result<Arc<dyn Engine>, LogicalError> {
    Ok(Arc::new(Kv1))
}

#[async_trait]
impl Engine for Kv1 {
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
        Ok(Some(storage.contains(&request.path).await?))
    }

    async fn handle(
        &self,
        request: &Request,
        storage: &dyn StorageView,
        system: &dyn SystemView,
    ) -> Result<Option<Response>, LogicalError> {
        match request.operation {
            Operation::Read => paths_data::read(request, storage, system).await,
            Operation::List => paths_data::list(request, storage).await,
            Operation::Create | Operation::Update => paths_data::write(request, storage).await,
            Operation::Delete => paths_data::delete(request, storage).await,
            Operation::Patch => Err(LogicalError::UnsupportedOperation),
        }
    }
}
