//! `operator seal`: seals the server.

use super::connect::Session;
use super::failure::Failure;
use super::output::Report;

/// Runs the command.
pub(super) async fn run(session: &Session) -> Result<Report, Failure> {
    session.client.seal().await.map_err(|e| Failure::call("sealing", &e))?;
    Ok(Report::text("Success! Vault is sealed."))
}
