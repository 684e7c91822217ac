//! [`Candidate`]: what leadership asks of the kernel above it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::vault::physical::Ledger;

/// The vault on this node, as leadership sees it. Every call is bounded in time by the caller.
#[async_trait]
pub trait Candidate: Send + Sync {
    /// Whether the vault is unsealed here, so that this node may lead and serve reads. Must not block.
    fn is_unsealed(&self) -> bool;

    /// Reads something through the request pipeline, to prove that this node can serve; renewal of the lock depends
    /// on it while the node is active.
    ///
    /// # Errors
    /// A sentence that says what does not work.
    async fn probe(&self, ledger: Arc<dyn Ledger>) -> Result<(), String>;

    /// Called after the claim and before the node serves: loads what only an active node needs.
    ///
    /// # Errors
    /// A sentence; the node then gives the leadership up.
    async fn promoted(&self, ledger: Arc<dyn Ledger>) -> Result<(), String> {
        let _ = ledger;
        Ok(())
    }

    /// Called when this node has stopped being active (its ledger answers [`NotActive`] from now on).
    ///
    /// [`NotActive`]: crate::vault::physical::SubmitError::NotActive
    async fn demoted(&self) {}

    /// Called when the storage went back in time: everything derived from it must be forgotten.
    async fn storage_rolled_back(&self) {}
}
