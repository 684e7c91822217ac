//! Tables of engines, and the engines that are part of the kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::kernel::Kernel;
use crate::vault::logical::{EngineFactory, LogicalError, Operation, Request, Response, RouteTraits};

/// Engines by kind (`kv`, `cubbyhole`, `userpass`, …).
pub type EngineTable = BTreeMap<&'static str, EngineFactory>;

/// Kernel engines by kind: `system` (mounted at `sys/`) and `token` (at `auth/token/`).
pub type KernelTable = BTreeMap<&'static str, Arc<dyn KernelEngine>>;

/// An engine that acts on the kernel itself. The same rules as for [`crate::vault::logical::Engine`] hold: it keeps no
/// state of its own, and everything that it does through the [`Kernel`] is part of the request's transaction.
#[async_trait]
pub trait KernelEngine: Send + Sync {
    /// What the kernel must know of `path` (inside the mount) before it authorises `operation` there.
    fn route(&self, operation: Operation, path: &str) -> RouteTraits;

    /// Whether the resource exists; `None` where there is no existence check.
    ///
    /// # Errors
    /// When the storage cannot answer.
    async fn exists(&self, _request: &Request, _kernel: &Kernel<'_>) -> Result<Option<bool>, LogicalError> {
        Ok(None)
    }

    /// Carries the request out.
    ///
    /// # Errors
    /// See [`LogicalError`].
    async fn handle(&self, request: &Request, kernel: &Kernel<'_>) -> Result<Option<Response>, LogicalError>;
}
