//! `list`: the names below a path.

use serde_json::Value;

use super::args::PathArgs;
use super::connect::Session;
use super::failure::Failure;
use super::output::{Format, Report};
use super::read::missing;
use crate::api::Envelope;
use crate::api::client::Call;

/// Runs the command.
pub(super) async fn run(session: &Session, args: PathArgs) -> Result<Report, Failure> {
    let call = Call::get(&args.path).with_query("list", "true");
    let found = session.client.logical(call).await.map_err(|e| missing("listing", &args.path, &e))?;
    shown(session.format, found.as_ref(), &args.path)
}

/// A list: one name a line, or a JSON array.
pub(super) fn shown(format: Format, envelope: Option<&Envelope>, path: &str) -> Result<Report, Failure> {
    let keys = envelope.and_then(|envelope| envelope.data.as_ref()?.get("keys")?.as_array());
    let keys = keys.ok_or_else(|| Failure::refused(format!("No value found at {path}")))?;
    Report::shown(format, keys, || {
        let names = keys.iter().filter_map(Value::as_str);
        ["Keys", "----"].into_iter().chain(names).collect::<Vec<_>>().join("\n")
    })
}
