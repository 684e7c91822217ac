//! `operator unseal`: enters a share.

use super::args::UnsealArgs;
use super::connect::Session;
use super::failure::Failure;
use super::output::Report;
use super::{prompt, status};

/// Runs the command.
pub(super) async fn run(session: &Session, args: UnsealArgs) -> Result<Report, Failure> {
    let entered = if args.reset {
        session.client.unseal_reset().await
    } else {
        session.client.unseal(prompt::secret(args.key, "Unseal Key")?).await
    };
    let status = entered.map_err(|e| Failure::call("unsealing", &e))?;
    let leader = if status.sealed { None } else { session.client.leader().await.ok() };
    status::shown(session, &status, leader.as_ref())
}
