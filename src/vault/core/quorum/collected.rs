//! [`Collected`]: shares that people have given for one operation, as they are stored.

use serde::{Deserialize, Serialize};

use crate::base::id;
use crate::base::random::Random;
use crate::base::secret::SecretBytes;
use crate::vault::barrier::Stored;
use crate::vault::core::status::SealConfig;
use crate::vault::logical::LogicalError;

/// Shares that were given so far, under a nonce that names the operation.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Collected {
    pub(super) nonce: String,
    given: Vec<Stored>,
}

impl Collected {
    /// None yet.
    pub(super) fn new(random: &dyn Random) -> Self {
        Self { nonce: id::uuid(random), given: Vec::new() }
    }

    /// How many there are.
    pub(super) fn progress(&self) -> usize {
        self.given.len()
    }

    /// Adds a share of a key that is split as `of` says; all of them once there are enough, when counting starts again.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] for another nonce, or a share that cannot be one of this key. `operation` is its name in
    /// the text.
    pub(super) fn give(
        &mut self,
        nonce: &str,
        share: SecretBytes,
        of: &SealConfig,
        operation: &str,
    ) -> Result<Option<Vec<SecretBytes>>, LogicalError> {
        if nonce != self.nonce {
            return Err(LogicalError::Invalid(format!(
                "incorrect nonce supplied; nonce for this {operation} operation is {:?}",
                self.nonce
            )));
        }
        of.check_share(&share).map_err(LogicalError::Invalid)?;
        // The same share again is not an error and not progress: a request that is sent twice does what it did once.
        let share = Stored(share);
        if !self.given.contains(&share) {
            self.given.push(share);
        }
        let is_complete = self.given.len() >= usize::from(of.threshold);
        let all = || std::mem::take(&mut self.given).into_iter().map(|Stored(share)| share).collect();
        Ok(is_complete.then(all))
    }
}
