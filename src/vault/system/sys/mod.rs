//! `sys/`: mounts, policies, capabilities, keys, leases and tools.
//!
//! One file per group of endpoints; each takes the part of the path below its own name.

mod capabilities;
mod generate_root;
mod ha_status;
mod keys;
mod leases;
mod mount_json;
mod mounts;
mod policies;
mod rekey;
mod remount;
mod seal;
mod shares;
mod tools;
mod tune;
mod ui;

use async_trait::async_trait;

use crate::vault::core::{Kernel, KernelEngine, MountClass, RekeyTarget};
use crate::vault::logical::{Fields, LogicalError, Operation, Request, Response, RouteTraits};

/// The engine at `sys/`.
pub(super) struct SystemEngine;

/// What an endpoint works with.
pub(super) struct Call<'a> {
    pub(super) operation: Operation,
    pub(super) fields: Fields<'a>,
    pub(super) kernel: &'a Kernel<'a>,
}

/// What every endpoint gives.
pub(super) type Answer = Result<Option<Response>, LogicalError>;

/// Reads that need no token; what they show depends on the token nevertheless.
const OPEN: &[&str] = &["internal/ui/mounts", "internal/ui/mounts/*"];

/// What a quorum of key shares may do takes no token at all: it is for when there is none.
const BY_SHARES: &[&str] = &["generate-root/*", "rekey/*", "rekey-recovery-key/*"];

/// Paths (`*` at the end: and all below) that need `sudo` besides the operation's capability.
const SUDO: &[&str] = &["auth/*", "remount", "rotate", "rotate/keyring", "seal", "step-down"];

/// Writes that have the same effect once and twice, whatever others do in between: questions asked by POST, and
/// what only ever takes something away for good.
const REPEATABLE_WRITES: &[&str] = &[
    "capabilities",
    "capabilities-accessor",
    "capabilities-self",
    "leases/lookup",
    "leases/revoke",
    "leases/revoke/*",
    "revoke",
    "revoke/*",
    "tools/*",
];

#[async_trait]
impl KernelEngine for SystemEngine {
    fn route(&self, operation: Operation, path: &str) -> RouteTraits {
        let path = path.trim_end_matches('/');
        RouteTraits {
            unauthenticated: operation == Operation::Read && is_any_of(path, OPEN)
                || is_any_of(path, BY_SHARES),
            needs_sudo: is_any_of(path, SUDO),
            repeatable: !operation.may_write() || is_any_of(path, REPEATABLE_WRITES),
            active_only: matches!(path, "ha-status" | "step-down"),
        }
    }

    async fn handle(&self, request: &Request, kernel: &Kernel<'_>) -> Answer {
        let call = Call { operation: request.operation, fields: Fields::new(&request.data), kernel };
        let path = request.path.trim_end_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        match first {
            "mounts" => mounts::handle(&call, MountClass::Secret, rest).await,
            "auth" => mounts::handle(&call, MountClass::Auth, rest).await,
            "remount" => remount::handle(&call, rest).await,
            "policies" => policies::handle(&call, rest).await,
            "policy" => policies::handle_legacy(&call, rest).await,
            "capabilities" | "capabilities-self" | "capabilities-accessor" => {
                capabilities::handle(&call, first, rest).await
            }
            "internal" => ui::handle(&call, rest).await,
            "key-status" | "rotate" => keys::handle(&call, path).await,
            "leases" => leases::handle(&call, rest).await,
            // The names that these had before `sys/leases`.
            "renew" | "revoke" => leases::handle(&call, path).await,
            "ha-status" => ha_status::handle(&call, path),
            "tools" => tools::handle(&call, rest),
            "generate-root" => generate_root::handle(&call, rest).await,
            "rekey" => rekey::handle(&call, RekeyTarget::Unseal, rest).await,
            "rekey-recovery-key" => rekey::handle(&call, RekeyTarget::Recovery, rest).await,
            "seal" | "step-down" => seal::handle(&call, path),
            _ => Err(LogicalError::UnsupportedPath),
        }
    }
}

/// Whether `path` is one of `patterns`, of which some end in `*` and stand for all below.
fn is_any_of(path: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == *pattern,
    })
}
