//! What a quorum of key shares may do without a token: make a root token, and replace the shares themselves.
//!
//! Progress is stored behind the barrier, so that it goes on at the next leader. The answer to the last share is kept for a
//! while as well: whoever lost it sends the same share again.

mod collected;
mod rekey;
mod root_token;
#[cfg(test)]
mod tests;
mod verification;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use rekey::{RekeyProgress, RekeyTarget, RekeyWish};
pub use root_token::{OTP_CHARS, RootProgress};
pub use verification::{Rekeyed, VerifyProgress};

use collected::Collected;

use super::error::CoreError;
use super::kernel::Kernel;
use super::open::{Open, from_json, to_json};
use super::parts::Core;
use super::records;
use super::status::SealConfig;
use crate::base::clock::UnixMillis;
use crate::base::id;
use crate::base::secret::SecretBytes;
use crate::crypto::aead::KEY_BYTES;
use crate::crypto::kdf;
use crate::vault::barrier::{BarrierTransaction, Stored};
use crate::vault::logical::LogicalError;
use crate::vault::physical::{Consistency, Ledger, SubmitError};
use crate::vault::seal::{Wrapped, join_key, unwrap_by_shares};

/// How long the answer to the last share is kept, in seconds.
const KEPT_SECONDS: u64 = 600;

/// What a share has led to. All of it is to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given<T> {
    /// How far the operation is, or its result.
    Taken(T),
    /// The shares do not fit together, or not this vault; counting starts again. The text is for the caller.
    Wrong(String),
}

/// What one more share comes to.
enum Verdict {
    /// More are needed.
    More,
    /// They are shares of the key that gives authority.
    Quorum,
    /// They are not; counting starts again. The text is for the caller.
    Wrong(String),
}

/// An operation that has ended: whom its answer is for.
#[derive(Clone, Serialize, Deserialize)]
struct Ended {
    nonce: String,
    /// The salted share that completed it.
    share: String,
    at: UnixMillis,
}

impl Ended {
    fn is_kept(&self, now: UnixMillis) -> bool {
        now < self.at.plus_seconds(KEPT_SECONDS)
    }
}

/// The part that the records of all operations have in common.
#[derive(Deserialize)]
struct AnyRecord {
    ended: Option<Ended>,
}

/// What checks a recovery key, which is stored nowhere else.
pub(super) fn recovery_verifier(cluster: &str, key: &SecretBytes) -> SecretBytes {
    kdf::hkdf_sha256(cluster.as_bytes(), key.expose(), b"holdfast recovery key", KEY_BYTES)
}

impl Kernel<'_> {
    /// How the key is split whose shares give authority: the unseal key, or the recovery key of a seal that opens by itself.
    async fn authority(&self) -> Result<SealConfig, LogicalError> {
        let record = self.transaction.get_sealed(records::SEAL_CONFIG).await?.unwrap_or_default();
        let config: SealConfig = from_json(records::SEAL_CONFIG, &record)?;
        if config.shares == 0 {
            let text =
                "this vault was made without recovery keys: nobody has a share that could be asked for";
            return Err(LogicalError::Invalid(text.to_owned()));
        }
        Ok(config)
    }

    /// Adds a share to what `collected` holds of the key that is split as `of` says.
    async fn collect(
        &self,
        collected: &mut Collected,
        (nonce, share): (&str, SecretBytes),
        of: &SealConfig,
        operation: &str,
    ) -> Result<Verdict, LogicalError> {
        let Some(parts) = collected.give(nonce, share, of, operation)? else { return Ok(Verdict::More) };
        let cluster = self.cluster_id();
        let fits = if self.core.parts().seal.automatic().is_some() {
            let Some(verifier) = self.transaction.get(records::RECOVERY_KEY).await? else {
                let text = "this vault was made by a version that kept nothing to check recovery keys with";
                return Err(LogicalError::Invalid(text.to_owned()));
            };
            join_key(&parts).is_ok_and(|key| recovery_verifier(cluster, &key) == verifier)
        } else {
            let record = self.transaction.get_sealed(records::SEAL_KEYS).await?.unwrap_or_default();
            let wrapped: Wrapped = from_json(records::SEAL_KEYS, &record)?;
            unwrap_by_shares(cluster, &wrapped, &parts).is_ok()
        };
        Ok(if fits {
            Verdict::Quorum
        } else {
            Verdict::Wrong("the key shares do not fit; give all of them again".to_owned())
        })
    }

    fn ended(&self, nonce: &str, share: &SecretBytes) -> Ended {
        Ended { nonce: nonce.to_owned(), share: self.salted_share(share), at: self.time() }
    }

    /// Whether this share of this operation is the one that completed it.
    fn is_again(&self, ended: &Ended, nonce: &str, share: &SecretBytes) -> bool {
        ended.is_kept(self.time()) && ended.nonce == nonce && ended.share == self.salted_share(share)
    }

    fn salted_share(&self, share: &SecretBytes) -> String {
        self.open.salted(&id::hex(share.expose()))
    }

    async fn record<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, LogicalError> {
        let stored = self.transaction.get(key).await?;
        stored.map(|record| from_json(key, record.expose())).transpose()
    }

    fn put_record<T: Serialize>(&self, key: &str, record: &T) -> Result<(), LogicalError> {
        Ok(self.transaction.put(key, to_json(key, record)?)?)
    }

    /// Stores how the new key is split, with which the answer of init is void.
    fn put_split(&self, shares: u8, threshold: u8) -> Result<(), LogicalError> {
        let kind = self.core.parts().seal.kind().to_owned();
        let config = to_json(records::SEAL_CONFIG, &SealConfig { kind, shares, threshold })?;
        self.transaction.put_plain(records::SEAL_CONFIG, Bytes::copy_from_slice(config.expose()))?;
        Ok(self.transaction.delete(records::INIT_ANSWER)?)
    }
}

impl Core {
    /// Forgets answers that were kept long enough. For the active node.
    pub(super) async fn forget_answers(
        &self,
        open: &Open,
        ledger: &Arc<dyn Ledger>,
    ) -> Result<(), CoreError> {
        for key in [records::GENERATE_ROOT, records::REKEY, records::RECOVERY_REKEY] {
            let transaction =
                BarrierTransaction::new(Arc::clone(ledger), Arc::clone(&open.barrier), Consistency::Pending);
            let Some(record) = transaction.get(key).await? else { continue };
            let record: AnyRecord = from_json(key, record.expose()).map_err(super::pipeline::core_error)?;
            if record.ended.is_none_or(|ended| ended.is_kept(ledger.time())) {
                continue;
            }
            transaction.delete(key)?;
            match ledger.submit(transaction.finish()?).await {
                // Another operation has begun meanwhile.
                Ok(_) | Err(SubmitError::Conflict | SubmitError::NotApplied) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn stored(keys: &[SecretBytes]) -> Vec<Stored> {
    keys.iter().cloned().map(Stored).collect()
}

fn exposed(keys: Vec<Stored>) -> Vec<SecretBytes> {
    keys.into_iter().map(|Stored(key)| key).collect()
}
