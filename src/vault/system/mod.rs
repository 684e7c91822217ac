//! Engines that steer the kernel: `sys/` and `auth/token/`.
//!
//! Both answer through the same pipeline as every other engine. What must work on a sealed node or without a token
//! about one node alone (`sys/init`, `sys/unseal`, `sys/health` and the like) belongs to the HTTP face, not here.

mod error;
mod sys;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use crate::vault::core::{KernelEngine, KernelTable};

/// The kernel's engines by kind: `system` and `token`.
pub fn kernel_engines() -> KernelTable {
    let system: Arc<dyn KernelEngine> = Arc::new(sys::SystemEngine);
    let token: Arc<dyn KernelEngine> = Arc::new(token::TokenEngine);
    [("system", system), ("token", token)].into()
}
