//! Giving new shares back before they count.

use serde::{Deserialize, Serialize};

use super::Given;
use super::collected::Collected;
use super::rekey::{RekeyRecord, RekeyTarget, RekeyWish};
use crate::base::secret::SecretBytes;
use crate::vault::barrier::Stored;
use crate::vault::core::kernel::Kernel;
use crate::vault::core::status::SealConfig;
use crate::vault::logical::LogicalError;
use crate::vault::seal::join_key;

/// How far the verification of new shares is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Names the verification.
    pub nonce: String,
    /// New shares needed.
    pub threshold: u8,
    /// New shares.
    pub shares: u8,
    /// New shares given so far.
    pub progress: usize,
}

/// What a new share has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rekeyed {
    /// More are needed.
    Verifying(VerifyProgress),
    /// The new shares are in force.
    Done {
        /// Names the verification.
        nonce: String,
    },
}

/// What is stored of it.
#[derive(Serialize, Deserialize)]
pub(super) struct Verifying {
    pub(super) collected: Collected,
    /// The new key.
    pub(super) key: Stored,
}

impl RekeyRecord {
    fn verification(&self, verifying: &Verifying) -> VerifyProgress {
        VerifyProgress {
            nonce: verifying.collected.nonce.clone(),
            threshold: self.wish.threshold,
            shares: self.wish.shares,
            progress: verifying.collected.progress(),
        }
    }
}

impl Kernel<'_> {
    /// How far the verification of new shares is.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if there is nothing to verify.
    pub async fn verification(&self, target: RekeyTarget) -> Result<VerifyProgress, LogicalError> {
        let (record, verifying) = self.to_verify(target).await?;
        Ok(record.verification(&verifying))
    }

    async fn to_verify(&self, target: RekeyTarget) -> Result<(RekeyRecord, Verifying), LogicalError> {
        self.rekey_authority(target).await?;
        let none = || LogicalError::Invalid("no rekey verification in progress".to_owned());
        let mut record = self.rekey_record(target).await?.ok_or_else(none)?;
        let verifying = record.verifying.take().ok_or_else(none)?;
        Ok((record, verifying))
    }

    /// Gives one of the new shares; with the last one needed they are in force.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if there is nothing to verify, for another nonce, or for what cannot be a share.
    pub async fn give_new_share(
        &self,
        target: RekeyTarget,
        nonce: &str,
        share: SecretBytes,
    ) -> Result<Given<Rekeyed>, LogicalError> {
        if let Some(ended) = self.rekey_record(target).await?.and_then(|record| record.ended)
            && self.is_again(&ended, nonce, &share)
        {
            return Ok(Given::Taken(Rekeyed::Done { nonce: nonce.to_owned() }));
        }
        let (mut record, mut verifying) = self.to_verify(target).await?;
        let RekeyWish { shares, threshold, .. } = record.wish;
        let of = SealConfig { kind: String::new(), shares, threshold };
        let ended = self.ended(nonce, &share);
        let parts = verifying.collected.give(nonce, share, &of, "rekey verification")?;
        let Some(parts) = parts else {
            let progress = record.verification(&verifying);
            record.verifying = Some(verifying);
            self.put_record(target.path(), &record)?;
            return Ok(Given::Taken(Rekeyed::Verifying(progress)));
        };
        let is_right = join_key(&parts).is_ok_and(|key| key == verifying.key.0);
        if is_right {
            self.put_in_force(target, &verifying.key.0, record.wish).await?;
            // The shares are where they belong: nobody needs to be told again.
            (record.issued, record.ended) = (None, Some(ended));
        } else {
            record.verifying = Some(verifying);
        }
        self.put_record(target.path(), &record)?;
        Ok(if is_right {
            Given::Taken(Rekeyed::Done { nonce: nonce.to_owned() })
        } else {
            Given::Wrong("the new key shares do not fit together; give all of them again".to_owned())
        })
    }

    /// Begins the verification anew, under another nonce.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if there is nothing to verify.
    pub async fn restart_verification(&self, target: RekeyTarget) -> Result<VerifyProgress, LogicalError> {
        let (mut record, mut verifying) = self.to_verify(target).await?;
        verifying.collected = Collected::new(self.random());
        let progress = record.verification(&verifying);
        if let Some(issued) = &mut record.issued {
            issued.verification_nonce = Some(progress.nonce.clone());
        }
        record.verifying = Some(verifying);
        self.put_record(target.path(), &record)?;
        Ok(progress)
    }
}
