//! `write`: data to a path.

use serde_json::Value;

use super::args::WriteArgs;
use super::connect::Session;
use super::failure::Failure;
use super::output::{Format, Report};
use super::{data, read};
use crate::api::client::Call;

/// Runs the command.
pub(super) async fn run(session: &Session, args: WriteArgs) -> Result<Report, Failure> {
    if args.data.is_empty() && !args.force {
        return Err(Failure::local("Must supply data or use -force"));
    }
    let body = Value::Object(data::object(&args.data)?);
    let answer = session.client.logical(Call::put(&args.path, body)).await;
    let answer = answer.map_err(|e| Failure::call(&format!("writing data to {}", args.path), &e))?;
    match answer {
        Some(envelope) if args.field.is_some() || session.format == Format::Json || shows(&envelope) => {
            read::shown(session.format, &envelope, args.field.as_deref())
        }
        answer => {
            let warnings = answer.and_then(|envelope| envelope.warnings);
            Ok(Report::text(format!("Success! Data written to: {}", args.path)).with_warnings(warnings))
        }
    }
}

fn shows(envelope: &crate::api::Envelope) -> bool {
    envelope.data.is_some() || envelope.auth.is_some() || envelope.wrap_info.is_some()
}
