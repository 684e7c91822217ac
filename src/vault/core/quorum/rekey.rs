//! Replacing the shares: of the unseal key, whereby the root key is replaced as well, or of the recovery key.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::collected::Collected;
use super::verification::Verifying;
use super::{Ended, Given, Verdict, exposed, recovery_verifier, stored};
use crate::base::secret::SecretBytes;
use crate::vault::barrier::{KEYRING_PATH, ROOT_KEY_PATH, Stored};
use crate::vault::core::init::check_shares;
use crate::vault::core::kernel::Kernel;
use crate::vault::core::open::to_json;
use crate::vault::core::records;
use crate::vault::core::status::SealConfig;
use crate::vault::logical::LogicalError;
use crate::vault::seal::{split_new_key, wrap_by_key};

/// Which key's shares are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RekeyTarget {
    /// The unseal key of a Shamir seal.
    Unseal,
    /// The recovery key of a seal that opens by itself.
    Recovery,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekeyWish {
    /// Shares to make.
    pub shares: u8,
    /// Of them needed.
    pub threshold: u8,
    /// Whether the new shares replace the old ones only after enough of them were given back.
    pub verify: bool,
}

/// How far a rekey is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RekeyProgress {
    /// Names the operation; empty while there is none.
    pub nonce: String,
    /// Whether there is one.
    pub started: bool,
    /// New shares needed.
    pub threshold: u8,
    /// New shares.
    pub shares: u8,
    /// Shares of the present key given so far.
    pub progress: usize,
    /// Of them needed.
    pub required: u8,
    /// Whether the new shares are to be verified.
    pub verify: bool,
    /// Names the verification, once the new shares are made.
    pub verification_nonce: Option<String>,
    /// The new shares, in the answer to the last share of the present key.
    pub keys: Vec<SecretBytes>,
}

/// What is stored of a rekey.
#[derive(Serialize, Deserialize)]
pub(super) struct RekeyRecord {
    pub(super) wish: RekeyWish,
    /// Until enough shares of the present key were given.
    authorising: Option<Collected>,
    /// Since then, if the new shares are to be verified.
    pub(super) verifying: Option<Verifying>,
    /// Once the new shares are in force.
    pub(super) ended: Option<Ended>,
    /// The answer to the last share of the present key, for whoever lost it.
    pub(super) issued: Option<Issued>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Issued {
    by: Ended,
    keys: Vec<Stored>,
    pub(super) verification_nonce: Option<String>,
}

impl RekeyTarget {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Unseal => records::REKEY,
            Self::Recovery => records::RECOVERY_REKEY,
        }
    }
}

impl RekeyRecord {
    fn progress(&self, required: u8) -> RekeyProgress {
        let Self { wish, authorising, verifying, .. } = self;
        let nonce = match (authorising, &self.issued) {
            (Some(collected), _) => collected.nonce.clone(),
            (None, Some(issued)) if verifying.is_some() => issued.by.nonce.clone(),
            _ => return RekeyProgress { required, ..RekeyProgress::default() },
        };
        RekeyProgress {
            nonce,
            started: true,
            threshold: wish.threshold,
            shares: wish.shares,
            progress: authorising.as_ref().map_or(0, Collected::progress),
            required,
            verify: wish.verify,
            verification_nonce: verifying.as_ref().map(|verifying| verifying.collected.nonce.clone()),
            keys: Vec::new(),
        }
    }

    /// The answer to the share that completed the authorisation.
    fn answer(&self, issued: &Issued, required: u8) -> RekeyProgress {
        RekeyProgress {
            nonce: issued.by.nonce.clone(),
            started: true,
            threshold: self.wish.threshold,
            shares: self.wish.shares,
            progress: usize::from(required),
            required,
            verify: self.wish.verify,
            verification_nonce: issued.verification_nonce.clone(),
            keys: exposed(issued.keys.clone()),
        }
    }
}

impl Kernel<'_> {
    pub(super) async fn rekey_authority(&self, target: RekeyTarget) -> Result<SealConfig, LogicalError> {
        let is_automatic = self.core.parts().seal.automatic().is_some();
        let text = match (target, is_automatic) {
            (RekeyTarget::Unseal, true) => {
                "this seal opens by itself and has no unseal key: rekey its recovery key"
            }
            (RekeyTarget::Recovery, false) => {
                "recovery rekeying not supported: this seal has no recovery key"
            }
            _ => return self.authority().await,
        };
        Err(LogicalError::Invalid(text.to_owned()))
    }

    pub(super) async fn rekey_record(
        &self,
        target: RekeyTarget,
    ) -> Result<Option<RekeyRecord>, LogicalError> {
        self.record(target.path()).await
    }

    /// How far a rekey is.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if this seal has no such key.
    pub async fn rekey_progress(&self, target: RekeyTarget) -> Result<RekeyProgress, LogicalError> {
        let required = self.rekey_authority(target).await?.threshold;
        let record = self.rekey_record(target).await?;
        let none = || RekeyProgress { required, ..RekeyProgress::default() };
        Ok(record.map_or_else(none, |record| record.progress(required)))
    }

    /// Begins a rekey.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if one is under way, or for impossible numbers.
    pub async fn start_rekey(
        &self,
        target: RekeyTarget,
        wish: RekeyWish,
    ) -> Result<RekeyProgress, LogicalError> {
        let progress = self.rekey_progress(target).await?;
        if progress.started {
            return Err(LogicalError::Invalid("rekey already in progress".to_owned()));
        }
        let RekeyWish { shares, threshold, .. } = wish;
        check_shares("secret", shares, threshold)
            .map_err(|error| LogicalError::Invalid(error.to_string()))?;
        let record = RekeyRecord {
            wish,
            authorising: Some(Collected::new(self.random())),
            verifying: None,
            ended: None,
            issued: None,
        };
        self.put_record(target.path(), &record)?;
        Ok(record.progress(progress.required))
    }

    /// Gives a share of the present key; with the last one needed the new shares are made, and are in force unless they are
    /// to be verified.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] without a rekey, for another nonce, or for what cannot be a share.
    pub async fn give_rekey_share(
        &self,
        target: RekeyTarget,
        nonce: &str,
        share: SecretBytes,
    ) -> Result<Given<RekeyProgress>, LogicalError> {
        let config = self.rekey_authority(target).await?;
        let mut record = self.rekey_record(target).await?.ok_or_else(no_rekey)?;
        let Some(mut collected) = record.authorising.take() else {
            let issued = record.issued.clone().filter(|issued| self.is_again(&issued.by, nonce, &share));
            let issued = issued.ok_or_else(no_rekey)?;
            return Ok(Given::Taken(record.answer(&issued, config.threshold)));
        };
        let by = self.ended(nonce, &share);
        let verdict = self.collect(&mut collected, (nonce, share), &config, "rekey").await?;
        let answer = if matches!(verdict, Verdict::Quorum) {
            let issued = self.make_shares(target, &mut record, by).await?;
            Given::Taken(record.answer(&issued, config.threshold))
        } else {
            record.authorising = Some(collected);
            match verdict {
                Verdict::Wrong(text) => Given::Wrong(text),
                Verdict::More | Verdict::Quorum => Given::Taken(record.progress(config.threshold)),
            }
        };
        self.put_record(target.path(), &record)?;
        Ok(answer)
    }

    /// Makes the new shares, and puts them in force or under verification.
    async fn make_shares(
        &self,
        target: RekeyTarget,
        record: &mut RekeyRecord,
        by: Ended,
    ) -> Result<Issued, LogicalError> {
        let RekeyWish { shares, threshold, verify } = record.wish;
        let (key, parts) = split_new_key(self.random(), shares, threshold)
            .map_err(|error| LogicalError::Internal(error.to_string()))?;
        let mut verification_nonce = None;
        if verify {
            let collected = Collected::new(self.random());
            verification_nonce = Some(collected.nonce.clone());
            record.verifying = Some(Verifying { collected, key: Stored(key) });
        } else {
            self.put_in_force(target, &key, record.wish).await?;
            record.ended = Some(by.clone());
        }
        let issued = Issued { by, keys: stored(&parts), verification_nonce };
        record.issued = Some(issued.clone());
        Ok(issued)
    }

    /// Stores what the new key opens, and that it is split so.
    pub(super) async fn put_in_force(
        &self,
        target: RekeyTarget,
        key: &SecretBytes,
        wish: RekeyWish,
    ) -> Result<(), LogicalError> {
        let cluster = self.cluster_id();
        match target {
            RekeyTarget::Unseal => {
                let stored = self.transaction.key_records().await?;
                let new = self.open.barrier.rekey(&stored)?;
                let wrapped = wrap_by_key(self.random(), cluster, key, &new.root)
                    .map_err(|error| LogicalError::Internal(error.to_string()))?;
                let wrapped = to_json(records::SEAL_KEYS, &wrapped)?;
                self.transaction.put_plain(KEYRING_PATH, new.records.keyring)?;
                self.transaction.put_plain(ROOT_KEY_PATH, new.records.root_key)?;
                self.transaction.put_plain(records::SEAL_KEYS, Bytes::copy_from_slice(wrapped.expose()))?;
                self.install_later(new.keys);
            }
            RekeyTarget::Recovery => {
                self.transaction.put(records::RECOVERY_KEY, recovery_verifier(cluster, key))?;
            }
        }
        self.put_split(wish.shares, wish.threshold)
    }

    /// Ends a rekey that is not in force yet, if there is one, and forgets all shares.
    ///
    /// # Errors
    /// On a standby; if this seal has no such key.
    pub async fn cancel_rekey(&self, target: RekeyTarget) -> Result<(), LogicalError> {
        self.rekey_authority(target).await?;
        Ok(self.transaction.delete(target.path())?)
    }
}

fn no_rekey() -> LogicalError {
    LogicalError::Invalid("no rekey in progress".to_owned())
}
