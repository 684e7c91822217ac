//! `sys/leases`: look up, renew and revoke a lease. The only leases of this version are those of tokens.
//!
//! A token's lease is named `<path that made the token>/<key of the token>`.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Answer, Call};
use crate::base::clock::UnixMillis;
use crate::vault::core::TokenEntry;
use crate::vault::logical::{LogicalError, Operation, Response};
use crate::vault::system::error::SystemError;

/// `rest` is what follows `sys/leases/`; the lease may be named by the path or by `lease_id`.
pub(super) async fn handle(call: &Call<'_>, rest: &str) -> Answer {
    let (verb, named) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(verb, "lookup" | "renew" | "revoke") || (verb == "lookup" && !named.is_empty()) {
        return Err(LogicalError::UnsupportedPath);
    }
    if !matches!(call.operation, Operation::Create | Operation::Update) {
        return Err(LogicalError::UnsupportedOperation);
    }
    let lease = match named {
        "" => call.fields.required_text("lease_id", &SystemError::MissingLease.to_string())?,
        named => named.to_owned(),
    };
    let found = token_of(call, &lease).await?;
    match verb {
        "lookup" => {
            let entry = found.ok_or(SystemError::InvalidLease)?;
            Ok(Some(Response::data(show(lease, &entry, call.kernel.time()))))
        }
        "renew" => Err(match found {
            Some(_) => SystemError::TokenLease,
            None => SystemError::LeaseNotFound,
        }
        .into()),
        _ => {
            if let Some(entry) = found {
                call.kernel.revoke_token(&entry).await?;
            }
            Ok(None)
        }
    }
}

async fn token_of(call: &Call<'_>, lease: &str) -> Result<Option<Arc<TokenEntry>>, LogicalError> {
    let Some((path, key)) = lease.trim_end_matches('/').rsplit_once('/') else { return Ok(None) };
    Ok(call.kernel.find_token_by_key(key).await?.filter(|entry| entry.path == path))
}

fn show(lease: String, entry: &TokenEntry, now: UnixMillis) -> Map<String, Value> {
    let time = |time: Option<UnixMillis>| time.map_or(Value::Null, |time| Value::from(time.rfc3339()));
    [
        ("id", Value::from(lease)),
        ("issue_time", time(Some(entry.created))),
        ("expire_time", time(entry.expires)),
        ("last_renewal", time(entry.last_renewal)),
        ("renewable", Value::from(entry.renewable)),
        ("ttl", Value::from(entry.ttl_seconds(now))),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
