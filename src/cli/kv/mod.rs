//! `kv`: secrets of a key-value engine, whichever version it has.

mod delete;
mod get;
mod list;
mod path;
mod put;

use super::args::KvCommand;
use super::connect::Session;
use super::failure::Failure;
use super::output::Report;

/// Runs the command.
pub(super) async fn run(session: &Session, command: KvCommand) -> Result<Report, Failure> {
    match command {
        KvCommand::Get(args) => get::run(session, args).await,
        KvCommand::Put(args) => put::run(session, args).await,
        KvCommand::List(args) => list::run(session, args).await,
        KvCommand::Delete(args) => delete::run(session, args).await,
    }
}
