//! `auth/token/revoke`, `revoke-self`, `revoke-accessor`, `revoke-orphan`: end tokens.

use super::lookup::by_accessor;
use super::{Answer, Call};
use crate::vault::logical::LogicalError;
use crate::vault::system::error::SystemError;

pub(super) async fn handle(call: &Call<'_>, which: &str) -> Answer {
    call.require_update()?;
    match which {
        "revoke-self" => {
            let own = call.kernel.caller().ok_or(LogicalError::Denied)?;
            call.kernel.revoke_token(own).await?;
        }
        "revoke-accessor" => call.kernel.revoke_token(by_accessor(call).await?.as_ref()).await?,
        _ => {
            let token = call.fields.required_text("token", &SystemError::MissingToken.to_string())?;
            let found = call.kernel.find_token(&token.into()).await?;
            match (which, found) {
                ("revoke-orphan", Some(entry)) => call.kernel.revoke_orphan(&entry).await?,
                ("revoke-orphan", None) => return Err(SystemError::TokenToRevokeNotFound.into()),
                (_, Some(entry)) => call.kernel.revoke_token(&entry).await?,
                // What does not exist is as good as revoked.
                (_, None) => {}
            }
        }
    }
    Ok(None)
}
