//! The vault on this node as leadership sees it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::vault::core::Core;
use crate::vault::ha::Candidate;
use crate::vault::physical::Ledger;

/// Leadership's view of the kernel.
pub(super) struct CoreCandidate(pub(super) Arc<Core>);

#[async_trait]
impl Candidate for CoreCandidate {
    fn is_unsealed(&self) -> bool {
        !self.0.is_sealed()
    }

    async fn probe(&self, ledger: Arc<dyn Ledger>) -> Result<(), String> {
        self.0.probe(ledger).await.map_err(|error| error.to_string())
    }

    async fn promoted(&self, ledger: Arc<dyn Ledger>) -> Result<(), String> {
        self.0.promoted(ledger).await.map_err(|error| error.to_string())
    }

    async fn storage_rolled_back(&self) {
        // What memory holds may be of a history that no longer exists.
        self.0.seal();
    }
}
