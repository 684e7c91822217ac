//! The seal's state: `sys/seal-status`, unsealing, and its progress.

use std::sync::{Arc, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::CoreError;
use super::open::{ClusterRecord, Open};
use super::parts::Core;
use super::records;
use crate::base::id;
use crate::base::secret::SecretBytes;
use crate::vault::barrier::{Barrier, KEYRING_PATH, KeyRecords, ROOT_KEY_PATH};
use crate::vault::physical::{Backend, StorageError};
use crate::vault::seal::{Wrapped, unwrap_by_shares};

/// The seal's state. The HTTP face adds the storage type, version and build date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealStatus {
    /// The seal: `shamir` or `static`.
    pub kind: &'static str,
    /// Whether the storage holds a vault, as far as this node has seen.
    pub initialized: bool,
    /// Whether this node is sealed.
    pub sealed: bool,
    /// Shares needed (`t`); zero before init.
    pub threshold: u8,
    /// Shares made (`n`); zero before init.
    pub shares: u8,
    /// Shares given so far.
    pub progress: usize,
    /// Names the running attempt; empty while there is none.
    pub nonce: String,
    /// The cluster's name, while unsealed.
    pub cluster_name: Option<String>,
    /// The cluster's UUID, while unsealed.
    pub cluster_id: Option<String>,
    /// Whether keys given to people are recovery keys, which cannot unseal.
    pub recovery_seal: bool,
}

/// The seal's configuration, stored in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealConfig {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) shares: u8,
    pub(super) threshold: u8,
}

impl SealConfig {
    /// Whether `share` may be one: what it says only shows once all are together.
    ///
    /// # Errors
    /// The text for whoever gave it.
    pub(super) fn check_share(&self, share: &SecretBytes) -> Result<(), String> {
        let length = if self.threshold == 1 { 32 } else { 33 };
        let given = share.expose().len();
        if given == length {
            return Ok(());
        }
        Err(format!("key is {given} bytes long, a share of this vault has {length}"))
    }
}

/// Whether a change of the record `key` is one for [`Core::follow_keys`].
pub fn is_of_keys(key: &str) -> bool {
    [KEYRING_PATH, ROOT_KEY_PATH, records::SEAL_CONFIG].contains(&key)
}

/// What is known while sealed.
#[derive(Debug, Default)]
pub(super) struct SealState {
    config: Option<SealConfig>,
    given: Vec<SecretBytes>,
    nonce: String,
}

impl Core {
    /// Reads whether the storage holds a vault, and its seal's configuration.
    ///
    /// # Errors
    /// When the storage cannot answer, or holds a vault of another seal type.
    pub async fn load(&self, backend: &dyn Backend) -> Result<bool, CoreError> {
        if backend.check().await?.is_none() {
            return Ok(false);
        }
        let config: SealConfig = read_json(backend, records::SEAL_CONFIG).await?.1;
        let configured = self.parts().seal.kind();
        if config.kind != configured {
            return Err(CoreError::Invalid(format!(
                "the vault was initialised with seal type {:?}, but this node is configured for {configured:?}",
                config.kind
            )));
        }
        self.seal_state().config = Some(config);
        Ok(true)
    }

    /// Takes up what another node may have changed: the keys, and how the key is split whose shares people have. False if
    /// no key that this node has opens what is stored: it was away while the keys changed more than once, and must be
    /// unsealed anew.
    ///
    /// # Errors
    /// When sealed, or the storage cannot answer.
    pub async fn follow_keys(&self, backend: &dyn Backend) -> Result<bool, CoreError> {
        let open = self.open.load_full().ok_or(CoreError::Sealed)?;
        let config: SealConfig = read_json(backend, records::SEAL_CONFIG).await?.1;
        self.seal_state().config = Some(config);
        let mut seen = None;
        loop {
            let root_key = read(backend, ROOT_KEY_PATH).await?;
            let records = KeyRecords { keyring: read(backend, KEYRING_PATH).await?, root_key };
            match open.barrier.refresh(&records) {
                Ok(()) => return Ok(true),
                Err(error) if seen.as_ref() == Some(&records) => {
                    tracing::error!(%error, "the stored keys cannot be opened");
                    return Ok(false);
                }
                // The two may have been read of two states.
                Err(_) => seen = Some(records),
            }
        }
    }

    /// The seal's state, from memory.
    pub fn seal_status(&self) -> SealStatus {
        let open = self.open.load();
        let state = self.seal_state();
        let (shares, threshold) =
            state.config.as_ref().map_or((0, 0), |config| (config.shares, config.threshold));
        SealStatus {
            kind: self.parts().seal.kind(),
            initialized: state.config.is_some(),
            sealed: open.is_none(),
            threshold,
            shares,
            progress: state.given.len(),
            nonce: state.nonce.clone(),
            cluster_name: open.as_ref().map(|open| open.cluster.name.clone()),
            cluster_id: open.as_ref().map(|open| open.cluster.id.clone()),
            recovery_seal: self.parts().seal.automatic().is_some(),
        }
    }

    /// Gives one share of the unseal key; with the last one needed the node unseals.
    ///
    /// # Errors
    /// [`CoreError::NotInitialized`]; [`CoreError::Invalid`] for shares that cannot be right, and after the last share if
    /// they do not fit, when counting starts again.
    pub async fn unseal(&self, backend: &dyn Backend, share: SecretBytes) -> Result<SealStatus, CoreError> {
        if !self.is_sealed() {
            return Ok(self.seal_status());
        }
        if self.parts().seal.automatic().is_some() {
            return Err(CoreError::Invalid(
                "this seal opens by itself; its recovery keys cannot unseal".to_owned(),
            ));
        }
        if !self.load(backend).await? {
            return Err(CoreError::NotInitialized);
        }
        let Some(parts) = self.take_share(share)? else { return Ok(self.seal_status()) };
        let (cluster, wrapped): (String, Wrapped) = read_json(backend, records::SEAL_KEYS).await?;
        let root = unwrap_by_shares(&cluster, &wrapped, &parts)
            .map_err(|error| CoreError::Invalid(format!("failed to unseal: {error}")))?;
        self.open_with(backend, cluster, root).await?;
        Ok(self.seal_status())
    }

    /// Forgets the shares given so far.
    pub fn reset_unseal(&self) -> SealStatus {
        self.forget_shares();
        self.seal_status()
    }

    /// Unseals by an automatic seal; false if the storage holds no vault yet, or the seal is not automatic.
    ///
    /// # Errors
    /// When the storage or the seal's other side cannot answer, or its key does not fit.
    pub async fn auto_unseal(&self, backend: &dyn Backend) -> Result<bool, CoreError> {
        if !self.load(backend).await? {
            return Ok(false);
        }
        let Some(seal) = self.parts().seal.automatic() else { return Ok(false) };
        if self.is_sealed() {
            let (cluster, wrapped): (String, Wrapped) = read_json(backend, records::SEAL_KEYS).await?;
            let root = seal.unwrap(&cluster, &wrapped).await?;
            self.open_with(backend, cluster, root).await?;
        }
        Ok(true)
    }

    /// Opens the barrier by the root key.
    async fn open_with(
        &self,
        backend: &dyn Backend,
        cluster: String,
        root: SecretBytes,
    ) -> Result<(), CoreError> {
        let keyring = read(backend, KEYRING_PATH).await?;
        let random = Arc::clone(&self.parts().random);
        let barrier = Arc::new(Barrier::open(cluster, random, root, &keyring)?);
        let record = barrier.decrypt(records::CLUSTER, &read(backend, records::CLUSTER).await?)?;
        let cluster: ClusterRecord = serde_json::from_slice(record.expose())
            .map_err(|_| CoreError::Internal(format!("record {} is damaged", records::CLUSTER)))?;
        self.open.store(Some(Arc::new(Open::new(barrier, cluster))));
        self.forget_shares();
        Ok(())
    }

    /// Adds a share; all of them once there are enough, when counting starts again.
    fn take_share(&self, share: SecretBytes) -> Result<Option<Vec<SecretBytes>>, CoreError> {
        let mut state = self.seal_state();
        let Some(config) = &state.config else { return Err(CoreError::NotInitialized) };
        config.check_share(&share).map_err(CoreError::Invalid)?;
        let threshold = usize::from(config.threshold);
        // The same share again is not an error and not progress.
        if !state.given.contains(&share) {
            state.given.push(share);
        }
        if state.given.len() >= threshold {
            state.nonce.clear();
            return Ok(Some(std::mem::take(&mut state.given)));
        }
        if state.nonce.is_empty() {
            state.nonce = id::uuid(self.parts().random.as_ref());
        }
        Ok(None)
    }

    pub(super) fn forget_shares(&self) {
        let mut state = self.seal_state();
        state.given.clear();
        state.nonce.clear();
    }

    fn seal_state(&self) -> MutexGuard<'_, SealState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plain record with the cluster that it belongs to.
async fn read_json<T: serde::de::DeserializeOwned>(
    backend: &dyn Backend,
    key: &str,
) -> Result<(String, T), CoreError> {
    let stored = backend.get(key).await?;
    let bytes = stored.value.ok_or_else(|| missing(key))?;
    let value = serde_json::from_slice(&bytes)
        .map_err(|_| CoreError::Internal(format!("record {key} is damaged")))?;
    Ok((stored.head.cluster.to_string(), value))
}

async fn read(backend: &dyn Backend, key: &str) -> Result<bytes::Bytes, CoreError> {
    backend.get(key).await?.value.ok_or_else(|| missing(key))
}

fn missing(key: &str) -> CoreError {
    StorageError::Damaged { storage: "vault", reason: format!("record {key} is missing") }.into()
}
