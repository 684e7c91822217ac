//! `auth/token/`: make, look up, renew and revoke tokens; token roles.
//!
//! One file per group of endpoints.

mod accessors;
mod create;
mod lookup;
mod renew;
mod revoke;
mod role;
mod roles;

use async_trait::async_trait;

use crate::vault::core::{Kernel, KernelEngine};
use crate::vault::logical::{Fields, LogicalError, Operation, Request, Response, RouteTraits};

/// The engine at `auth/token/`.
pub(super) struct TokenEngine;

/// What an endpoint works with.
pub(super) struct Call<'a> {
    pub(super) request: &'a Request,
    pub(super) operation: Operation,
    pub(super) fields: Fields<'a>,
    pub(super) kernel: &'a Kernel<'a>,
}

/// What every endpoint gives.
pub(super) type Answer = Result<Option<Response>, LogicalError>;

/// Paths that need `sudo` besides the operation's capability.
const SUDO: &[&str] = &["accessors", "revoke-orphan"];

/// Writes that have the same effect once and twice, whatever others do in between: questions asked by POST, and
/// revocations, as no token ever comes back. A renewal is not among them: it would undo a shorter one made meanwhile.
const REPEATABLE_WRITES: &[&str] = &["lookup", "lookup-self", "lookup-accessor", "revoke", "revoke-accessor"];

#[async_trait]
impl KernelEngine for TokenEngine {
    fn route(&self, operation: Operation, path: &str) -> RouteTraits {
        let path = path.trim_end_matches('/');
        RouteTraits {
            needs_sudo: SUDO.contains(&path),
            repeatable: !operation.may_write() || REPEATABLE_WRITES.contains(&path),
            ..RouteTraits::default()
        }
    }

    async fn exists(&self, request: &Request, kernel: &Kernel<'_>) -> Result<Option<bool>, LogicalError> {
        match request.path.strip_prefix("roles/") {
            Some(name) => Ok(Some(roles::load(kernel, name).await?.is_some())),
            None => Ok(None),
        }
    }

    async fn handle(&self, request: &Request, kernel: &Kernel<'_>) -> Answer {
        let call = Call { request, operation: request.operation, fields: Fields::new(&request.data), kernel };
        let path = request.path.trim_end_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        if !rest.is_empty() && !matches!(first, "create" | "roles") {
            return Err(LogicalError::UnsupportedPath);
        }
        match first {
            "create" | "create-orphan" => create::handle(&call, first == "create-orphan", rest).await,
            "lookup" | "lookup-self" | "lookup-accessor" => lookup::handle(&call, first).await,
            "renew" | "renew-self" | "renew-accessor" => renew::handle(&call, first).await,
            "revoke" | "revoke-self" | "revoke-accessor" | "revoke-orphan" => {
                revoke::handle(&call, first).await
            }
            "accessors" => accessors::handle(&call).await,
            "roles" => roles::handle(&call, rest).await,
            _ => Err(LogicalError::UnsupportedPath),
        }
    }
}

impl Call<'_> {
    /// Refuses every operation that is no write.
    fn require_update(&self) -> Result<(), LogicalError> {
        match self.operation {
            Operation::Create | Operation::Update => Ok(()),
            _ => Err(LogicalError::UnsupportedOperation),
        }
    }
}
