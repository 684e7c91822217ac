//! `kv list`.

use super::path::Located;
use crate::api::client::Call;
use crate::cli::args::KvPath;
use crate::cli::connect::Session;
use crate::cli::failure::Failure;
use crate::cli::list;
use crate::cli::output::Report;
use crate::cli::read::missing;

/// Runs the command.
pub(in crate::cli) async fn run(session: &Session, at: KvPath) -> Result<Report, Failure> {
    let path = Located::find(session, &at).await?.path("metadata");
    let call = Call::get(&path).with_query("list", "true");
    let found = session.client.logical(call).await.map_err(|e| missing("listing", &path, &e))?;
    list::shown(session.format, found.as_ref(), &path)
}
