//! What the node and the forwarder ask of the kernel without running a request.

use std::sync::Arc;

use super::call::Call;
use super::error::CoreError;
use super::open;
use super::parts::Core;
use super::pipeline::core_error;
use super::token::{TokenEntry, TokenStore};
use crate::vault::barrier::BarrierTransaction;
use crate::vault::logical::{Operation, RouteTraits};
use crate::vault::physical::{Consistency, Ledger};

impl Core {
    /// What the engine behind `path` says of it; all false where there is none.
    ///
    /// # Errors
    /// When sealed, or the storage cannot answer.
    pub async fn route_traits(
        &self,
        ledger: Arc<dyn Ledger>,
        operation: Operation,
        path: &str,
    ) -> Result<RouteTraits, CoreError> {
        let open = self.open.load_full().ok_or(CoreError::Sealed)?;
        let transaction = BarrierTransaction::new(ledger, Arc::clone(&open.barrier), Consistency::Committed);
        let routed = self.route(&open, &transaction, operation, path).await.map_err(core_error)?;
        Ok(routed.traits)
    }

    /// Whether a request whose outcome is unknown may be sent again: its engine declares it repeatable, and its token has
    /// no use limit. False in doubt.
    pub async fn may_repeat(&self, ledger: Arc<dyn Ledger>, call: &Call) -> bool {
        let Some(open) = self.open.load_full() else { return false };
        let transaction = BarrierTransaction::new(ledger, Arc::clone(&open.barrier), Consistency::Committed);
        let Ok(routed) = self.route(&open, &transaction, call.operation, &call.path).await else {
            return false;
        };
        if !routed.traits.repeatable {
            return false;
        }
        let store = TokenStore {
            open: &open,
            transaction: &transaction,
            mounts: &routed.router.table,
            random: self.parts().random.as_ref(),
            now: transaction.ledger().time(),
        };
        let limited = |entry: Option<Arc<TokenEntry>>| entry.is_none_or(|entry| entry.num_uses != 0);
        routed.traits.unauthenticated
            || store.by_token(&call.token, false).await.is_ok_and(|entry| !limited(entry))
    }

    /// Shows that this node can serve: reads the mount table through the barrier and has the read confirmed.
    ///
    /// # Errors
    /// When sealed, or the storage or the proof of leadership does not answer.
    pub async fn probe(&self, ledger: Arc<dyn Ledger>) -> Result<(), CoreError> {
        let open = self.open.load_full().ok_or(CoreError::Sealed)?;
        let pass = ledger.begin(0).await?;
        let transaction =
            BarrierTransaction::new(Arc::clone(&ledger), Arc::clone(&open.barrier), Consistency::Committed);
        open::router(&transaction, &open, self.parts()).await.map_err(core_error)?;
        ledger.confirm(&pass, transaction.newest_read()).await?;
        Ok(())
    }
}
