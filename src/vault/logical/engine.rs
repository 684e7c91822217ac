//! [`Engine`]: a secrets engine or auth method.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::error::LogicalError;
use super::request::{Operation, Request};
use super::response::Response;
use super::view::{StorageView, SystemView};

/// What the kernel must know of a route before it runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteTraits {
    /// No token is needed (logins).
    pub unauthenticated: bool,
    /// `sudo` is needed besides the operation's capability.
    pub needs_sudo: bool,
    /// Running it twice has the same effect as once, so it may be repeated after an unknown outcome.
    pub repeatable: bool,
    /// It must run on the active node even if it only reads.
    pub active_only: bool,
}

/// A secrets engine or auth method: it turns requests into reads and writes of its own storage.
///
/// An engine keeps no state of its own between requests that storage does not hold: the same request may run on any
/// node, and may be run again from the start when its transaction meets a conflict.
#[async_trait]
pub trait Engine: Send + Sync {
    /// The type as in `sys/mounts`.
    fn kind(&self) -> &'static str;

    /// What the kernel must know of `path` before it authorises `operation` there.
    fn route(&self, operation: Operation, path: &str) -> RouteTraits;

    /// Whether the resource at the request's path exists, so that an update becomes a create; `None` where the engine
    /// has no existence check there (the operation stays an update).
    ///
    /// # Errors
    /// When the storage cannot answer.
    async fn exists(
        &self,
        request: &Request,
        storage: &dyn StorageView,
    ) -> Result<Option<bool>, LogicalError>;

    /// Carries the request out.
    ///
    /// # Errors
    /// See [`LogicalError`].
    async fn handle(
        &self,
        request: &Request,
        storage: &dyn StorageView,
        system: &dyn SystemView,
    ) -> Result<Option<Response>, LogicalError>;
}

/// Makes an engine for a mount from its options.
pub type EngineFactory = fn(options: &BTreeMap<String, String>) -> Result<Arc<dyn Engine>, LogicalError>;
