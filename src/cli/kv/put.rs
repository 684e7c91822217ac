//! `kv put`.

use serde_json::{Value, json};

use super::get;
use super::path::Located;
use crate::api::client::Call;
use crate::cli::args::KvPutArgs;
use crate::cli::connect::Session;
use crate::cli::data;
use crate::cli::failure::Failure;
use crate::cli::output::Report;

/// Runs the command.
pub(in crate::cli) async fn run(session: &Session, args: KvPutArgs) -> Result<Report, Failure> {
    let secret = data::object(&args.data)?;
    let located = Located::find(session, &args.at).await?;
    let path = located.path("data");
    let body = match (located.versioned, args.cas) {
        (true, None) => json!({ "data": secret, "options": {} }),
        (true, Some(cas)) => json!({ "data": secret, "options": { "cas": cas } }),
        (false, None) => Value::Object(secret),
        (false, Some(_)) => {
            return Err(Failure::local(format!("{path} is in an engine without versions: leave -cas out")));
        }
    };
    let answer = session.client.logical(Call::put(&path, body)).await;
    let answer = answer.map_err(|e| Failure::call(&format!("writing data to {path}"), &e))?;
    let Some(envelope) = answer.filter(|envelope| envelope.data.is_some()) else {
        return Ok(Report::text(format!("Success! Data written to: {path}")));
    };
    let metadata = envelope.data.clone().unwrap_or_default();
    if let Some(name) = &args.field {
        return Report::field(&metadata, name);
    }
    let report =
        Report::shown(session.format, &envelope, || get::text(&path, Some(&metadata), &Value::Null))?;
    Ok(report.with_warnings(envelope.warnings))
}
