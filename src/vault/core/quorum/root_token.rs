//! Making a root token, for when there is none left.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::collected::Collected;
use super::{Ended, Given, Verdict};
use crate::base::id;
use crate::base::secret::{SecretBytes, SecretString};
use crate::vault::barrier::Stored;
use crate::vault::core::kernel::Kernel;
use crate::vault::core::mounts::MountClass;
use crate::vault::core::records;
use crate::vault::core::token::NewToken;
use crate::vault::logical::LogicalError;

/// Characters of a one-time password: as many as a token has, which it is combined with.
pub const OTP_CHARS: usize = 28;

const OPERATION: &str = "root generation";

/// How far the making of a root token is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootProgress {
    /// Names the attempt; empty while there is none.
    pub nonce: String,
    /// Whether there is one.
    pub started: bool,
    /// Shares given so far.
    pub progress: usize,
    /// Shares needed.
    pub required: u8,
    /// The one-time password, in the answer that begins an attempt without one of the caller's own.
    pub otp: Option<SecretString>,
    /// The token, combined with the one-time password, in base64 without padding, once it is made.
    pub encoded_token: Option<String>,
}

/// What is stored of an attempt.
#[derive(Serialize, Deserialize)]
struct RootRecord {
    /// While it goes on.
    running: Option<Running>,
    /// Once it has ended.
    ended: Option<Ended>,
    encoded_token: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Running {
    #[serde(flatten)]
    collected: Collected,
    otp: Stored,
}

impl Kernel<'_> {
    /// How far the making of a root token is.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if nobody has a share of any key.
    pub async fn root_generation(&self) -> Result<RootProgress, LogicalError> {
        let required = self.authority().await?.threshold;
        let record: Option<RootRecord> = self.record(records::GENERATE_ROOT).await?;
        Ok(match record.and_then(|record| record.running) {
            Some(running) => progress(&running.collected, required),
            None => RootProgress { required, ..RootProgress::default() },
        })
    }

    /// Begins to make a root token. Without a one-time password of the caller's own one is made and returned.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] if an attempt is under way, or the password has another length than [`OTP_CHARS`].
    pub async fn start_root_generation(
        &self,
        otp: Option<SecretString>,
    ) -> Result<RootProgress, LogicalError> {
        let required = self.authority().await?.threshold;
        if self.root_generation().await?.started {
            return Err(LogicalError::Invalid("root generation already in progress".to_owned()));
        }
        let made = otp.is_none().then(|| SecretString::new(id::base62(self.random(), OTP_CHARS)));
        let otp = otp.or_else(|| made.clone()).unwrap_or_else(|| SecretString::from(""));
        if otp.expose().len() != OTP_CHARS {
            return Err(LogicalError::Invalid("OTP string is wrong length".to_owned()));
        }
        let otp = Stored(SecretBytes::new(otp.expose().as_bytes().to_vec()));
        let collected = Collected::new(self.random());
        let begun = RootProgress { otp: made, ..progress(&collected, required) };
        let running = Some(Running { collected, otp });
        self.put_record(records::GENERATE_ROOT, &RootRecord { running, ended: None, encoded_token: None })?;
        Ok(begun)
    }

    /// Gives a share; with the last one needed the token is made.
    ///
    /// # Errors
    /// [`LogicalError::Invalid`] without an attempt, for another nonce than the attempt's, or for what cannot be a share.
    pub async fn give_root_share(
        &self,
        nonce: &str,
        share: SecretBytes,
    ) -> Result<Given<RootProgress>, LogicalError> {
        let config = self.authority().await?;
        let none = || LogicalError::Invalid("no root generation in progress".to_owned());
        let record: RootRecord = self.record(records::GENERATE_ROOT).await?.ok_or_else(none)?;
        let complete = |nonce: &str, encoded_token: String| RootProgress {
            nonce: nonce.to_owned(),
            started: true,
            progress: usize::from(config.threshold),
            required: config.threshold,
            otp: None,
            encoded_token: Some(encoded_token),
        };
        let Some(mut running) = record.running else {
            let again = record.ended.filter(|ended| self.is_again(ended, nonce, &share));
            let again = again.and(record.encoded_token).ok_or_else(none)?;
            return Ok(Given::Taken(complete(nonce, again)));
        };
        let ended = self.ended(nonce, &share);
        let verdict = self.collect(&mut running.collected, (nonce, share), &config, OPERATION).await?;
        if matches!(verdict, Verdict::Quorum) {
            let encoded = self.encoded_root_token(&running.otp).await?;
            let token = Some(encoded.clone());
            let record = RootRecord { running: None, ended: Some(ended), encoded_token: token };
            self.put_record(records::GENERATE_ROOT, &record)?;
            return Ok(Given::Taken(complete(nonce, encoded)));
        }
        let shown = progress(&running.collected, config.threshold);
        let record = RootRecord { running: Some(running), ended: None, encoded_token: None };
        self.put_record(records::GENERATE_ROOT, &record)?;
        Ok(match verdict {
            Verdict::Wrong(text) => Given::Wrong(text),
            Verdict::More | Verdict::Quorum => Given::Taken(shown),
        })
    }

    /// Ends the attempt, if there is one, and forgets the shares.
    ///
    /// # Errors
    /// On a standby.
    pub fn cancel_root_generation(&self) -> Result<(), LogicalError> {
        Ok(self.transaction.delete(records::GENERATE_ROOT)?)
    }

    async fn encoded_root_token(&self, otp: &Stored) -> Result<String, LogicalError> {
        let table = self.mounts();
        let mount = table
            .get(MountClass::Auth, "token/")
            .ok_or_else(|| LogicalError::Internal("the mount table lacks auth/token/".to_owned()))?;
        let spec = NewToken {
            policies: vec!["root".to_owned()],
            display_name: "root".to_owned(),
            ..NewToken::default()
        };
        let issued = self.tokens(table).create(spec, mount, "auth/token/root").await?;
        let pairs = issued.token.expose().bytes().zip(otp.0.expose());
        let combined: Zeroizing<Vec<u8>> = Zeroizing::new(pairs.map(|(token, otp)| token ^ otp).collect());
        Ok(STANDARD_NO_PAD.encode(&*combined))
    }
}

fn progress(collected: &Collected, required: u8) -> RootProgress {
    RootProgress {
        nonce: collected.nonce.clone(),
        started: true,
        progress: collected.progress(),
        required,
        ..RootProgress::default()
    }
}
