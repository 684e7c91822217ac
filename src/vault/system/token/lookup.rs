//! `auth/token/lookup`, `lookup-self`, `lookup-accessor`: what is known of a token.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Answer, Call};
use crate::base::clock::UnixMillis;
use crate::vault::core::TokenEntry;
use crate::vault::logical::{LogicalError, Operation, Response, TokenType};
use crate::vault::system::error::SystemError;

pub(super) async fn handle(call: &Call<'_>, which: &str) -> Answer {
    let is_read = call.operation == Operation::Read && which != "lookup-accessor";
    if !is_read {
        call.require_update()?;
    }
    let (entry, id) = match which {
        "lookup-accessor" => (by_accessor(call).await?, String::new()),
        _ => {
            let given = if which == "lookup" {
                call.fields.text("token")?.unwrap_or_default()
            } else {
                String::new()
            };
            let own = call.request.client_token.expose();
            let id = if given.is_empty() { own.to_owned() } else { given };
            let found = call.kernel.find_token(&id.clone().into()).await?;
            (found.ok_or(LogicalError::Denied)?, id)
        }
    };
    Ok(Some(Response::data(show(&entry, id, call.kernel.time()))))
}

/// The token that the field `accessor` names.
pub(super) async fn by_accessor(call: &Call<'_>) -> Result<Arc<TokenEntry>, LogicalError> {
    let accessor = call.fields.required_text("accessor", &SystemError::MissingAccessor.to_string())?;
    let found = call.kernel.find_token_by_accessor(&accessor).await?;
    found.ok_or_else(|| SystemError::InvalidAccessor.into())
}

fn show(entry: &TokenEntry, id: String, now: UnixMillis) -> Map<String, Value> {
    let shown = json!({
        "accessor": entry.accessor,
        "creation_time": entry.created.seconds(),
        "creation_ttl": entry.creation_ttl_seconds,
        "display_name": entry.display_name,
        "entity_id": entry.entity_id,
        "expire_time": entry.expires.map(UnixMillis::rfc3339),
        "explicit_max_ttl": entry.explicit_max_ttl_seconds,
        "id": id,
        "issue_time": entry.created.rfc3339(),
        "meta": if entry.metadata.is_empty() { Value::Null } else { json!(entry.metadata) },
        "num_uses": entry.num_uses,
        "orphan": entry.parent.is_none(),
        "path": entry.path,
        "policies": entry.policies,
        "renewable": entry.renewable,
        "ttl": entry.ttl_seconds(now),
        "type": match entry.token_type { TokenType::Service => "service", TokenType::Batch => "batch" },
    });
    let mut shown = shown.as_object().cloned().unwrap_or_default();
    if let Some(renewed) = entry.last_renewal {
        shown.insert("last_renewal".to_owned(), renewed.rfc3339().into());
        shown.insert("last_renewal_time".to_owned(), renewed.seconds().into());
    }
    if entry.period_seconds > 0 {
        shown.insert("period".to_owned(), entry.period_seconds.into());
    }
    if !entry.role.is_empty() {
        shown.insert("role".to_owned(), entry.role.clone().into());
    }
    if !entry.bound_cidrs.is_empty() {
        shown.insert("bound_cidrs".to_owned(), entry.bound_cidrs.clone().into());
    }
    shown
}
