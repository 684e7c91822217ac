//! Small transactions of the kernel's own: taking a use of a token, and the paced removal of what has ended.

use std::sync::Arc;

use super::error::CoreError;
use super::open::{self, Open};
use super::parts::Core;
use super::pipeline::core_error;
use super::records;
use super::token::{self, TokenStore};
use crate::base::clock::UnixMillis;
use crate::vault::barrier::BarrierTransaction;
use crate::vault::logical::LogicalError;
use crate::vault::physical::{Consistency, Ledger, SubmitError};

/// How often a step is tried when others change what it read.
const MAX_ATTEMPTS: u32 = 20;

/// One small transaction.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Takes one use of the token with this key; [`CoreError::Invalid`] if it has none left.
    TakeUse(String),
    /// Revokes the token with this key if its last use has begun.
    EndUse(String),
    /// Ends what this record of the expiry index names, if it is due.
    Expire(String),
    /// One step of the removal of a revoked token's children and private storage.
    Revoke(String),
    /// One step of the removal of unmounted storage.
    Unmount(String),
}

/// What a call of [`Core::expire_due`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Transactions that were committed.
    pub steps: usize,
    /// Whether more is due already: call again soon.
    pub more: bool,
    /// When the next token ends, if one does.
    pub next: Option<UnixMillis>,
}

impl Core {
    /// Ends what is due by cluster time and continues removals, in at most `limit` small commits. For the active node.
    ///
    /// # Errors
    /// When sealed, or the storage cannot answer; what was committed stays so.
    pub async fn expire_due(&self, ledger: Arc<dyn Ledger>, limit: usize) -> Result<Swept, CoreError> {
        let open = self.open.load_full().ok_or(CoreError::Sealed)?;
        self.keep_keys(&open, &ledger).await?;
        self.forget_answers(&open, &ledger).await?;
        let mut swept = Swept::default();
        let due = ledger.list(records::EXPIRE_PREFIX, None, limit.max(1), Consistency::Committed).await?;
        for record in due.keys {
            let Some(time) = expiry_of(&record) else { continue };
            if time > ledger.time() {
                swept.next = Some(time);
                break;
            }
            if swept.steps >= limit {
                swept.more = true;
                return Ok(swept);
            }
            self.step(&open, &ledger, &Step::Expire(record)).await?;
            swept.steps += 1;
        }
        swept.more = due.more && swept.next.is_none();
        for prefix in [records::REVOKE_PREFIX, records::UNMOUNT_PREFIX] {
            let left = limit.saturating_sub(swept.steps);
            let intents = ledger.list(prefix, None, left.max(1), Consistency::Committed).await?;
            swept.more |= !intents.keys.is_empty();
            for intent in intents.keys.into_iter().take(left) {
                let step = if prefix == records::REVOKE_PREFIX {
                    Step::Revoke(intent)
                } else {
                    Step::Unmount(intent)
                };
                self.step(&open, &ledger, &step).await?;
                swept.steps += 1;
            }
        }
        Ok(swept)
    }

    /// Runs one step until it is committed; gives what [`Core::take_step`] gave.
    pub(super) async fn step(
        &self,
        open: &Arc<Open>,
        ledger: &Arc<dyn Ledger>,
        step: &Step,
    ) -> Result<bool, CoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let transaction =
                BarrierTransaction::new(Arc::clone(ledger), Arc::clone(&open.barrier), Consistency::Pending);
            let last = self.take_step(open, &transaction, step).await.map_err(core_error)?;
            if !transaction.has_writes() {
                return Ok(last);
            }
            match ledger.submit(transaction.finish()?).await {
                Ok(_) => return Ok(last),
                Err(SubmitError::Conflict | SubmitError::NotApplied) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(CoreError::Unavailable("too many other requests changed what this one read".to_owned()))
    }

    /// Prepares a step; for [`Step::TakeUse`] true if it is the token's last one.
    async fn take_step(
        &self,
        open: &Open,
        transaction: &BarrierTransaction,
        step: &Step,
    ) -> Result<bool, LogicalError> {
        let router = open::router(transaction, open, self.parts()).await?;
        let store = TokenStore {
            open,
            transaction,
            mounts: &router.table,
            random: self.parts().random.as_ref(),
            now: transaction.ledger().time(),
        };
        match step {
            Step::TakeUse(key) => match store.valid(key, false).await? {
                Some(entry) if entry.num_uses > 0 => {
                    store.take_use(&entry)?;
                    return Ok(entry.num_uses == 1);
                }
                Some(_) => {}
                None => return Err(LogicalError::Invalid("the token has no use left".to_owned())),
            },
            Step::EndUse(key) => match store.entry(key).await? {
                Some(entry) if entry.num_uses < 0 => store.revoke(&entry).await?,
                Some(_) | None => {}
            },
            Step::Expire(record) => match store.entry(record.rsplit('/').next().unwrap_or_default()).await? {
                Some(entry) if entry.expires == expiry_of(record) => store.revoke(&entry).await?,
                // A record that a renewal has left behind.
                Some(_) | None => transaction.delete(record)?,
            },
            Step::Revoke(intent) => {
                token::finish_revoked(&store, intent).await?;
            }
            Step::Unmount(intent) => {
                token::end_unmounted(transaction, intent).await?;
            }
        }
        Ok(false)
    }
}

/// When the thing of an index record ends.
fn expiry_of(record: &str) -> Option<UnixMillis> {
    record.strip_prefix(records::EXPIRE_PREFIX)?.split('/').next()?.parse().ok().map(UnixMillis)
}
