//! `operator step-down`: asks the active server to give up leadership.

use super::connect::Session;
use super::failure::Failure;
use super::output::Report;

/// Runs the command.
pub(super) async fn run(session: &Session) -> Result<Report, Failure> {
    session.client.step_down().await.map_err(|e| Failure::call("stepping down", &e))?;
    Ok(Report::text("Success! Stepped down"))
}
