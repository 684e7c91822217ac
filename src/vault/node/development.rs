//! `server -dev`: a vault in memory that initialises and unseals itself.

use std::time::Duration;

use crate::config::DevConfig;
use crate::vault::core::{CoreError, FirstMount, InitAnswer, MountClass};
use crate::vault::http::lifecycle::{InitWish, Lifecycle};

/// Longest time until the only node is active.
const START: Duration = Duration::from_secs(10);

/// Makes the vault with one key share and KV version 2 at `secret/`, and unseals it.
pub(super) async fn make_vault(lifecycle: &Lifecycle, dev: &DevConfig) -> Result<InitAnswer, CoreError> {
    let secret = FirstMount {
        class: MountClass::Secret,
        path: "secret/".to_owned(),
        kind: "kv".to_owned(),
        options: [("version".to_owned(), "2".to_owned())].into(),
    };
    let wish = InitWish {
        secret_shares: 1,
        secret_threshold: 1,
        root_token: dev.root_token.clone(),
        mounts: vec![secret],
        ..InitWish::default()
    };
    let answer = lifecycle.initialise(wish).await?;
    for key in &answer.keys {
        lifecycle.unseal(key.clone()).await?;
    }
    // Whoever reads the message may use the vault at once.
    let leads = lifecycle.ha.wait_for_leader(START).await;
    leads.map_err(|error| CoreError::Unavailable(error.to_string()))?;
    Ok(answer)
}

/// What a person who started it must know.
pub(super) fn message(answer: &InitAnswer, api_address: &str) -> String {
    use base64::Engine;
    let key = answer.keys.first().map(|key| base64::engine::general_purpose::STANDARD.encode(key.expose()));
    format!(
        "WARNING! Development mode: everything is in memory, unsealed and without TLS. Never use it for real secrets.\n\n\
         You may need to set this:\n\n    $ export VAULT_ADDR='{api_address}'\n\n\
         Unseal Key: {}\nRoot Token: {}\n\n",
        key.unwrap_or_default(),
        answer.root_token.expose()
    )
}
