//! `read`: a path as it is.

use super::args::ReadArgs;
use super::connect::Session;
use super::failure::Failure;
use super::output::{Format, Report, cell, rows, table};
use crate::api::client::{Call, ClientError};
use crate::api::{Auth, Envelope};
use serde_json::Value;

/// Runs the command.
pub(super) async fn run(session: &Session, args: ReadArgs) -> Result<Report, Failure> {
    let mut call = Call::get(&args.path);
    for pair in &args.query {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| Failure::local(format!("{pair:?} is not key=value")))?;
        call = call.with_query(key, value);
    }
    let found = session.client.logical(call).await.map_err(|e| missing("reading", &args.path, &e))?;
    let envelope = found.ok_or_else(|| Failure::refused(format!("No value found at {}", args.path)))?;
    shown(session.format, &envelope, args.field.as_deref())
}

/// A failed call; nothing there is said in Vault's words.
pub(super) fn missing(doing: &str, path: &str, error: &ClientError) -> Failure {
    match error {
        ClientError::Refused { status: 404, errors, .. } if errors.is_empty() => {
            Failure::refused(format!("No value found at {path}"))
        }
        other => Failure::call(&format!("{doing} {path}"), other),
    }
}

/// A logical answer as `read` and `write` show it.
pub(super) fn shown(format: Format, envelope: &Envelope, field: Option<&str>) -> Result<Report, Failure> {
    if let Some(name) = field {
        return Report::field(envelope.data.as_ref().unwrap_or(&Value::Null), name);
    }
    let report = Report::shown(format, envelope, || table(&envelope_rows(envelope)))?;
    Ok(if format == Format::Json { report } else { report.with_warnings(envelope.warnings.clone()) })
}

fn envelope_rows(envelope: &Envelope) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut row = |key: &str, value: String| out.push((key.to_owned(), value));
    if !envelope.lease_id.is_empty() {
        row("lease_id", envelope.lease_id.clone());
        row("lease_duration", format!("{}s", envelope.lease_duration));
        row("lease_renewable", envelope.renewable.to_string());
    } else if envelope.lease_duration > 0 {
        row("refresh_interval", format!("{}s", envelope.lease_duration));
    }
    if let Some(wrap) = &envelope.wrap_info {
        row("wrapping_token", wrap.token.expose().to_owned());
        row("wrapping_accessor", wrap.accessor.clone());
        row("wrapping_token_ttl", format!("{}s", wrap.ttl));
        row("wrapping_token_creation_time", wrap.creation_time.clone());
        row("wrapping_token_creation_path", wrap.creation_path.clone());
    }
    if let Some(auth) = &envelope.auth {
        out.extend(auth_rows(auth));
    }
    match &envelope.data {
        Some(Value::Object(data)) => out.extend(rows(data)),
        Some(Value::Null) | None => {}
        Some(other) => out.push(("data".to_owned(), cell(other))),
    }
    out
}

fn auth_rows(auth: &Auth) -> Vec<(String, String)> {
    let duration =
        if auth.lease_duration == 0 { "∞".to_owned() } else { format!("{}s", auth.lease_duration) };
    [
        ("token", auth.client_token.expose().to_owned()),
        ("token_accessor", auth.accessor.clone()),
        ("token_duration", duration),
        ("token_renewable", auth.renewable.to_string()),
        ("token_policies", format!("{:?}", auth.token_policies)),
        ("identity_policies", format!("{:?}", auth.identity_policies)),
        ("policies", format!("{:?}", auth.policies)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
