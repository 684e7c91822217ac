//! `delete`: what is at a path.

use http::Method;

use super::args::PathArgs;
use super::connect::Session;
use super::failure::Failure;
use super::output::Report;
use super::read;
use crate::api::client::Call;

/// Runs the command.
pub(super) async fn run(session: &Session, args: PathArgs) -> Result<Report, Failure> {
    let answer = session.client.logical(Call::new(Method::DELETE, &args.path)).await;
    match answer.map_err(|e| Failure::call(&format!("deleting {}", args.path), &e))? {
        Some(envelope) if envelope.data.is_some() => read::shown(session.format, &envelope, None),
        answer => {
            let warnings = answer.and_then(|envelope| envelope.warnings);
            let said = format!("Success! Data deleted (if it existed) at: {}", args.path);
            Ok(Report::text(said).with_warnings(warnings))
        }
    }
}
