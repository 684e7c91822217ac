//! `auth/token/renew`, `renew-self`, `renew-accessor`: let a token live longer.

use super::lookup::by_accessor;
use super::{Answer, Call};
use crate::base::secret::SecretString;
use crate::vault::logical::Response;
use crate::vault::system::error::SystemError;

pub(super) async fn handle(call: &Call<'_>, which: &str) -> Answer {
    call.require_update()?;
    let increment_seconds = call.fields.seconds("increment")?.unwrap_or(0);
    let (entry, shown_token) = match which {
        "renew-accessor" => (by_accessor(call).await?, SecretString::new(String::new())),
        _ => {
            let token = match which {
                "renew" => call.fields.required_text("token", &SystemError::MissingToken.to_string())?.into(),
                _ => call.request.client_token.clone(),
            };
            (call.kernel.find_token(&token).await?.ok_or(SystemError::TokenNotFound)?, token)
        }
    };
    let (renewed, warnings) = call.kernel.renew_token(&entry, increment_seconds).await?;
    let auth = renewed.auth(&shown_token, call.kernel.time());
    Ok(Some(Response { auth: Some(auth), warnings, ..Response::default() }))
}
