//! `sys/generate-root`: a new root token by a quorum of key shares.

use serde_json::{Value, json};

use super::shares::{body, key, nonce, refuse_pgp, wrong};
use super::{Answer, Call};
use crate::base::secret::SecretString;
use crate::vault::core::{Given, OTP_CHARS, RootProgress};
use crate::vault::logical::{LogicalError, Operation};

pub(super) async fn handle(call: &Call<'_>, path: &str) -> Answer {
    match (path, call.operation) {
        ("attempt", Operation::Read) => Ok(shown(&call.kernel.root_generation().await?)),
        ("attempt", Operation::Create | Operation::Update) => {
            refuse_pgp(call, "pgp_key")?;
            let otp = call.fields.text("otp")?.filter(|otp| !otp.is_empty()).map(SecretString::new);
            Ok(shown(&call.kernel.start_root_generation(otp).await?))
        }
        ("attempt", Operation::Delete) => call.kernel.cancel_root_generation().map(|()| None),
        ("update", Operation::Create | Operation::Update) => {
            let given = call.kernel.give_root_share(&nonce(call)?, key(call)?).await?;
            Ok(match given {
                Given::Taken(progress) => shown(&progress),
                Given::Wrong(text) => wrong(&text),
            })
        }
        ("attempt" | "update", _) => Err(LogicalError::UnsupportedOperation),
        _ => Err(LogicalError::UnsupportedPath),
    }
}

fn shown(progress: &RootProgress) -> Option<crate::vault::logical::Response> {
    let encoded = progress.encoded_token.as_deref().unwrap_or_default();
    let otp = progress.otp.as_ref().map_or("", SecretString::expose);
    let shown: Value = json!({
        "nonce": progress.nonce,
        "started": progress.started,
        "progress": progress.progress,
        "required": progress.required,
        "complete": progress.encoded_token.is_some(),
        "encoded_token": encoded,
        "encoded_root_token": encoded,
        "pgp_fingerprint": "",
        "otp": otp,
        "otp_length": OTP_CHARS,
    });
    body(200, &shown)
}
