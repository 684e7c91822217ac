//! `kv get`.

use serde_json::Value;

use super::path::Located;
use crate::api::Envelope;
use crate::api::client::Call;
use crate::cli::args::KvGetArgs;
use crate::cli::connect::Session;
use crate::cli::failure::Failure;
use crate::cli::output::{Report, heading, rows, table};
use crate::cli::read::missing;

/// Runs the command.
pub(in crate::cli) async fn run(session: &Session, args: KvGetArgs) -> Result<Report, Failure> {
    let located = Located::find(session, &args.at).await?;
    let path = located.path("data");
    let mut call = Call::get(&path);
    if let Some(version) = args.version {
        if !located.versioned {
            return Err(Failure::local(format!(
                "{path} is in an engine without versions: leave -version out"
            )));
        }
        call = call.with_query("version", version.to_string());
    }
    let answer = session.client.send(call).await.map_err(|e| missing("reading", &path, &e))?;
    // A deleted version answers 404 with its metadata, which is worth showing.
    let deleted =
        answer.status == 404 && answer.json::<Envelope>().is_ok_and(|envelope| envelope.data.is_some());
    let answer =
        if deleted { answer } else { answer.success().map_err(|e| missing("reading", &path, &e))? };
    let envelope: Envelope = answer.json().map_err(|e| Failure::call("reading", &e))?;
    let data = envelope.data.clone().unwrap_or_default();
    let secret = if located.versioned { data.get("data").cloned().unwrap_or_default() } else { data.clone() };
    if let Some(name) = &args.field {
        return Report::field(&secret, name);
    }
    let report = Report::shown(session.format, &envelope, || {
        let metadata = data.get("metadata").filter(|_| located.versioned);
        text(&path, metadata, &secret)
    })?;
    Ok(report.with_code(if deleted { 2 } else { 0 }))
}

/// The tables of a secret: its path and metadata, if it has versions, and its data, if it is not deleted.
pub(super) fn text(path: &str, metadata: Option<&Value>, secret: &Value) -> String {
    let mut parts = Vec::new();
    if let Some(Value::Object(metadata)) = metadata {
        parts.push(format!("{}\n{path}", heading("Secret Path", path)));
        let shown = table(&rows(metadata));
        parts.push(format!("{}\n{shown}", heading("Metadata", &shown)));
    }
    if let Value::Object(secret) = secret {
        let shown = table(&rows(secret));
        parts.push(format!("{}\n{shown}", heading("Data", &shown)));
    }
    parts.join("\n\n")
}
