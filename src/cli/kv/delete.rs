//! `kv delete`.

use http::Method;
use serde_json::json;

use super::path::Located;
use crate::api::client::Call;
use crate::cli::args::KvDeleteArgs;
use crate::cli::connect::Session;
use crate::cli::failure::Failure;
use crate::cli::output::Report;

/// Runs the command.
pub(in crate::cli) async fn run(session: &Session, args: KvDeleteArgs) -> Result<Report, Failure> {
    let located = Located::find(session, &args.at).await?;
    let path = located.path(if args.versions.is_empty() { "data" } else { "delete" });
    let call = if args.versions.is_empty() {
        Call::new(Method::DELETE, &path)
    } else if located.versioned {
        Call::put(&path, json!({ "versions": args.versions }))
    } else {
        return Err(Failure::local(format!("{path} is in an engine without versions: leave -versions out")));
    };
    session.client.logical(call).await.map_err(|e| Failure::call(&format!("deleting {path}"), &e))?;
    Ok(Report::text(format!("Success! Data deleted (if it existed) at: {path}")))
}
