//! `sys/rekey`, `sys/rekey-recovery-key`: new shares of the unseal or recovery key, by a quorum of the present ones.

use serde_json::{Value, json};

use super::shares::{body, encoded, key, nonce, refuse_pgp, wrong};
use super::{Answer, Call};
use crate::vault::core::{Given, RekeyProgress, RekeyTarget, RekeyWish, Rekeyed, VerifyProgress};
use crate::vault::logical::{LogicalError, Operation, Response};

pub(super) async fn handle(call: &Call<'_>, target: RekeyTarget, path: &str) -> Answer {
    let kernel = call.kernel;
    match (path, call.operation) {
        ("init", Operation::Read) => Ok(shown(&kernel.rekey_progress(target).await?)),
        ("init", Operation::Create | Operation::Update) => {
            let begun = kernel.start_rekey(target, wish(call)?).await?;
            Ok(shown(&begun))
        }
        ("init", Operation::Delete) => kernel.cancel_rekey(target).await.map(|()| None),
        ("update", Operation::Create | Operation::Update) => {
            Ok(match kernel.give_rekey_share(target, &nonce(call)?, key(call)?).await? {
                Given::Taken(progress) if progress.keys.is_empty() => shown(&progress),
                Given::Taken(progress) => issued(&progress),
                Given::Wrong(text) => wrong(&text),
            })
        }
        ("verify", Operation::Read) => Ok(verifying(&kernel.verification(target).await?)),
        ("verify", Operation::Create | Operation::Update) => {
            Ok(match kernel.give_new_share(target, &nonce(call)?, key(call)?).await? {
                Given::Taken(Rekeyed::Verifying(progress)) => verifying(&progress),
                Given::Taken(Rekeyed::Done { nonce }) => {
                    body(200, &json!({ "nonce": nonce, "complete": true }))
                }
                Given::Wrong(text) => wrong(&text),
            })
        }
        ("verify", Operation::Delete) => Ok(verifying(&kernel.restart_verification(target).await?)),
        ("init" | "update" | "verify", _) => Err(LogicalError::UnsupportedOperation),
        _ => Err(LogicalError::UnsupportedPath),
    }
}

fn wish(call: &Call<'_>) -> Result<RekeyWish, LogicalError> {
    refuse_pgp(call, "pgp_keys")?;
    if call.fields.boolean("backup")?.unwrap_or_default() {
        let text = "cannot request a backup of the new keys without providing PGP keys for encryption";
        return Err(LogicalError::Invalid(text.to_owned()));
    }
    let number = |name: &str| {
        let number = call.fields.count(name)?.unwrap_or_default();
        u8::try_from(number).map_err(|_| LogicalError::Invalid(format!("{name} must be at most 255")))
    };
    Ok(RekeyWish {
        shares: number("secret_shares")?,
        threshold: number("secret_threshold")?,
        verify: call.fields.boolean("require_verification")?.unwrap_or_default(),
    })
}

fn shown(progress: &RekeyProgress) -> Option<Response> {
    let mut shown = json!({
        "nonce": progress.nonce,
        "started": progress.started,
        "t": progress.threshold,
        "n": progress.shares,
        "progress": progress.progress,
        "required": progress.required,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": progress.verify,
    });
    name_verification(&mut shown, progress);
    body(200, &shown)
}

fn issued(progress: &RekeyProgress) -> Option<Response> {
    let (hex, base64) = encoded(&progress.keys);
    let mut shown = json!({
        "nonce": progress.nonce,
        "complete": true,
        "keys": hex,
        "keys_base64": base64,
        "pgp_fingerprints": null,
        "backup": false,
        "verification_required": progress.verify,
    });
    name_verification(&mut shown, progress);
    body(200, &shown)
}

fn name_verification(shown: &mut Value, progress: &RekeyProgress) {
    if let Some(nonce) = &progress.verification_nonce {
        shown["verification_nonce"] = json!(nonce);
    }
}

fn verifying(progress: &VerifyProgress) -> Option<Response> {
    let shown = json!({
        "nonce": progress.nonce,
        "started": true,
        "t": progress.threshold,
        "n": progress.shares,
        "progress": progress.progress,
    });
    body(200, &shown)
}
