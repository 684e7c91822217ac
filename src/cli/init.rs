//! `operator init`: makes the keys.

use super::args::InitArgs;
use super::connect::Session;
use super::failure::Failure;
use super::output::Report;
use crate::api::{InitKeys, InitRequest};
use crate::base::secret::SecretString;

/// Runs the command.
pub(super) async fn run(session: &Session, args: InitArgs) -> Result<Report, Failure> {
    if args.status {
        return status(session).await;
    }
    let seal = session.client.seal_status().await.map_err(|e| Failure::call("reading the seal", &e))?;
    let request = if seal.kind == "shamir" {
        InitRequest {
            secret_shares: args.key_shares,
            secret_threshold: args.key_threshold,
            ..InitRequest::default()
        }
    } else {
        InitRequest {
            recovery_shares: args.recovery_shares,
            recovery_threshold: args.recovery_threshold,
            ..InitRequest::default()
        }
    };
    let keys = session.client.init(&request).await.map_err(|e| Failure::call("initializing", &e))?;
    let keys = InitKeys::new(&request, keys);
    Report::shown(session.format, &keys, || text(&keys))
}

async fn status(session: &Session) -> Result<Report, Failure> {
    let failed = |e| Failure { code: 1, ..Failure::call("checking initialization status", &e) };
    let status = session.client.init_status().await.map_err(failed)?;
    let said = if status.initialized { "Vault is initialized" } else { "Vault is not initialized" };
    let report = Report::shown(session.format, &status, || said.to_owned())?;
    Ok(report.with_code(if status.initialized { 0 } else { 2 }))
}

fn text(keys: &InitKeys) -> String {
    let list = |name: &str, shares: &[SecretString]| {
        shares
            .iter()
            .enumerate()
            .fold(String::new(), |out, (i, key)| out + &format!("{name} {}: {}\n", i + 1, key.expose()))
    };
    let mut out = list("Unseal Key", &keys.unseal_keys_b64);
    out.push_str(&list("Recovery Key", &keys.recovery_keys_b64));
    out.push_str(&format!("\nInitial Root Token: {}\n\n", keys.root_token.expose()));
    if keys.unseal_keys_b64.is_empty() {
        out.push_str(
            "Vault is initialized and unseals itself. Keep the recovery keys apart from each other;\n",
        );
        out.push_str("they are not shown again.");
    } else {
        let (shares, threshold) = (keys.unseal_shares, keys.unseal_threshold);
        out.push_str(&format!(
            "Vault is initialized with {shares} key shares, of which {threshold} unseal it. Keep them apart from each\n\
             other. They are not shown again: without {threshold} of them the data cannot be read after a restart."
        ));
    }
    out
}
