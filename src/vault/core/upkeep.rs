//! What only the active node does for the keys: counting their use, rotating them in time, and wrapping the root key anew
//! after the seal's own key has changed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::CoreError;
use super::open::{Open, from_json, to_json};
use super::parts::Core;
use super::pipeline::core_error;
use super::records;
use crate::vault::barrier::{BarrierTransaction, KEYRING_PATH};
use crate::vault::physical::{Consistency, Ledger};
use crate::vault::seal::Wrapped;

/// Records that one key may encrypt: nine tenths of the 2^32 that random nonces allow.
const MAX_ENCRYPTIONS: u64 = 3_865_470_566;
/// The count is stored whenever it has grown by this; a node that dies loses no more of it, and its successor adds as much.
const COUNT_STEP: u64 = 1 << 20;

/// How much a key has been used.
#[derive(Serialize, Deserialize)]
struct KeyUsage {
    term: u32,
    encryptions: u64,
}

impl Core {
    /// To be called once this node has become the active one: takes up what the keys are now and the count of their use, and
    /// wraps the root key by the seal's current key if it is still wrapped by an older one.
    ///
    /// # Errors
    /// When sealed, the storage cannot answer, or no key that is known here opens the stored keyring.
    pub async fn promoted(&self, ledger: Arc<dyn Ledger>) -> Result<(), CoreError> {
        let open = self.open.load_full().ok_or(CoreError::Sealed)?;
        let transaction = begin(&open, &ledger);
        // Another node may have changed them, and nothing that was read here since needed the new ones.
        transaction.refresh_keys().await?;
        if let Some(record) = transaction.get(records::KEY_USAGE).await? {
            let usage: KeyUsage = from_json(records::KEY_USAGE, record.expose()).map_err(core_error)?;
            open.barrier.resume_count(usage.term, usage.encryptions.saturating_add(COUNT_STEP));
        }
        if let Err(error) = self.wrap_anew(&open, &ledger).await {
            // The old key still opens the vault: no reason not to lead.
            tracing::warn!(error = %error, "the root key is still wrapped by the seal's previous key");
        }
        Ok(())
    }

    async fn wrap_anew(&self, open: &Open, ledger: &Arc<dyn Ledger>) -> Result<(), CoreError> {
        let Some(seal) = self.parts().seal.automatic() else { return Ok(()) };
        let transaction = begin(open, ledger);
        let Some(record) = transaction.get_sealed(records::SEAL_KEYS).await? else { return Ok(()) };
        let wrapped: Wrapped = from_json(records::SEAL_KEYS, &record).map_err(core_error)?;
        if !seal.is_stale(&wrapped) {
            return Ok(());
        }
        let random = self.parts().random.as_ref();
        let next = seal.wrap(random, open.barrier.cluster(), &open.barrier.root_key()).await?;
        let record = serde_json::to_vec(&next).map_err(|error| CoreError::Internal(error.to_string()))?;
        transaction.put_plain(records::SEAL_KEYS, Bytes::from(record))?;
        ledger.submit(transaction.finish()?).await?;
        tracing::info!(key_id = next.key_id, "the root key is now wrapped by the seal's current key");
        Ok(())
    }

    /// Stores the count of the key's use now and then, and rotates the key before it has been used too often.
    pub(super) async fn keep_keys(&self, open: &Open, ledger: &Arc<dyn Ledger>) -> Result<(), CoreError> {
        let status = open.barrier.status();
        if status.encryptions >= MAX_ENCRYPTIONS {
            let transaction = begin(open, ledger);
            let stored = transaction.key_records().await?;
            let (record, keys) = open.barrier.rotate(&stored, ledger.time())?;
            transaction.put_plain(KEYRING_PATH, record)?;
            ledger.submit(transaction.finish()?).await?;
            open.barrier.install(keys);
            return Ok(());
        }
        let stored = open.count_stored.load(Ordering::Relaxed);
        if status.encryptions.abs_diff(stored) < COUNT_STEP {
            return Ok(());
        }
        let transaction = begin(open, ledger);
        let usage = KeyUsage { term: status.term, encryptions: status.encryptions };
        let record = to_json(records::KEY_USAGE, &usage).map_err(core_error)?;
        transaction.put(records::KEY_USAGE, record)?;
        ledger.submit(transaction.finish()?).await?;
        open.count_stored.store(status.encryptions, Ordering::Relaxed);
        Ok(())
    }
}

fn begin(open: &Open, ledger: &Arc<dyn Ledger>) -> BarrierTransaction {
    BarrierTransaction::new(Arc::clone(ledger), Arc::clone(&open.barrier), Consistency::Pending)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::clock::ManualClock;
    use crate::base::secret::SecretBytes;
    use crate::vault::core::InitParams;
    use crate::vault::core::testing::{START, TestLedger, Vault, core_with, init_params, lock_name};
    use crate::vault::logical::Operation;
    use crate::vault::physical::inmem::InmemBackend;
    use crate::vault::seal::{StaticKey, StaticSeal};

    fn key(id: &str, byte: u8) -> StaticKey {
        StaticKey::new(id, &SecretBytes::new(vec![byte; 32])).expect("key")
    }

    #[tokio::test]
    async fn the_active_node_wraps_the_root_key_by_the_new_key() {
        let backend = InmemBackend::new();
        let clock = Arc::new(ManualClock::starting_at(START));
        let seal = |current, previous| Arc::new(StaticSeal::new(current, previous).expect("seal"));
        let old = core_with(seal(key("1", 1), None), Arc::clone(&clock));
        let params = InitParams { recovery_shares: 1, recovery_threshold: 1, ..init_params(0, 0) };
        old.initialise(&backend, lock_name(), "node", params).await.expect("initialised");
        let only_new = core_with(seal(key("2", 2), None), Arc::clone(&clock));
        assert!(only_new.auto_unseal(&backend).await.is_err());
        let both = core_with(seal(key("2", 2), Some(key("1", 1))), Arc::clone(&clock));
        assert!(both.auto_unseal(&backend).await.expect("unsealed"));
        let ledger = TestLedger::new(backend.clone(), clock);
        both.promoted(Arc::clone(&ledger) as _).await.expect("promoted");
        assert!(only_new.auto_unseal(&backend).await.expect("unsealed by the new key alone"));
    }

    #[tokio::test]
    async fn a_key_that_was_used_too_often_is_rotated_and_counts_survive() {
        let vault = Vault::unsealed().await;
        let ledger: Arc<dyn Ledger> = Arc::clone(&vault.ledger) as _;
        let open = vault.core.open.load_full().expect("unsealed");
        vault.core.keep_keys(&open, &ledger).await.expect("kept");
        assert!(vault.keys(records::KEY_USAGE).await.is_empty(), "too few to be stored");
        open.barrier.resume_count(1, COUNT_STEP);
        vault.core.keep_keys(&open, &ledger).await.expect("kept");
        assert_eq!(vault.keys(records::KEY_USAGE).await, [records::KEY_USAGE]);
        open.barrier.resume_count(1, 0);
        vault.core.promoted(Arc::clone(&ledger)).await.expect("promoted");
        assert!(open.barrier.status().encryptions >= 2 * COUNT_STEP, "a successor never counts too little");
        open.barrier.resume_count(2, 7);
        assert!(
            open.barrier.status().encryptions >= 2 * COUNT_STEP,
            "the count of another term is no count of this"
        );
        open.barrier.resume_count(1, MAX_ENCRYPTIONS);
        vault.core.expire_due(ledger, 10).await.expect("swept");
        assert_eq!(open.barrier.status().term, 2);
        assert_eq!(vault.ask(&vault.root, Operation::Update, "secret/a", json!({"n": 1})).await.0, 204);
        vault.core.seal();
    }
}
