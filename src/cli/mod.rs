//! Commands of the `holdfast` program: Vault's names, flags, environment and exit codes.

mod args;
mod connect;
mod dashes;
mod data;
mod failure;
mod output;
mod prompt;
mod token_file;

mod crd;
mod delete;
mod init;
mod kv;
mod list;
mod login;
mod operator;
mod probe;
mod read;
mod seal;
mod server;
mod status;
mod step_down;
mod unseal;
mod write;

#[cfg(test)]
mod tests;

use clap::Parser;
use tokio::runtime::Builder;

use args::{Cli, ClientCommand, Command, Connection, OperatorCommand, OperatorVerb};
use connect::Session;
use failure::Failure;
use output::Report;

use crate::config::Environment;
use crate::vault::node::BackendTable;

/// Runs the command named by the process's arguments and returns its exit code:
/// 0 for success, 1 for a failure on this side, 2 for a refusal by the server.
pub fn main() -> std::process::ExitCode {
    main_with(&BackendTable::default())
}

/// The same with more types of storage and lock: what the `main` of another program calls that adds some.
pub fn main_with(backends: &BackendTable) -> std::process::ExitCode {
    let cli = match Cli::try_parse_from(dashes::doubled(std::env::args())) {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let environment = Environment::process();
    let outcome = match cli.command {
        Command::Server(args) => {
            on_runtime(Builder::new_multi_thread(), server::run(args, &environment, backends))
        }
        Command::Operator { command: Some(OperatorCommand::Verb(verb)), .. } => {
            on_runtime(Builder::new_current_thread(), operator_verb(verb, &cli.connection, &environment))
        }
        Command::Operator { args, command: None }
        | Command::Operator { command: Some(OperatorCommand::Run(args)), .. } => {
            on_runtime(Builder::new_multi_thread(), operator::run(args, &environment))
        }
        Command::Crd(args) => crd::run(&args),
        Command::Probe(args) => on_runtime(Builder::new_current_thread(), probe::run(&args)),
        Command::Client(command) => {
            on_runtime(Builder::new_current_thread(), client(command, &cli.connection, &environment))
        }
    };
    output::finish(outcome)
}

fn on_runtime(
    mut builder: Builder,
    command: impl Future<Output = Result<Report, Failure>>,
) -> Result<Report, Failure> {
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|e| Failure::local(format!("the runtime cannot start: {e}")))?;
    let outcome = runtime.block_on(command);
    // Tasks that wait for a storage or a peer must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// Runs a verb of `operator`.
async fn operator_verb(
    verb: OperatorVerb,
    connection: &Connection,
    environment: &Environment,
) -> Result<Report, Failure> {
    let session = Session::new(connection, environment)?;
    match verb {
        OperatorVerb::Init(args) => init::run(&session, args).await,
        OperatorVerb::Unseal(args) => unseal::run(&session, args).await,
        OperatorVerb::Seal => seal::run(&session).await,
        OperatorVerb::StepDown => step_down::run(&session).await,
    }
}

/// Runs a command that calls a server.
async fn client(
    command: ClientCommand,
    connection: &Connection,
    environment: &Environment,
) -> Result<Report, Failure> {
    let session = Session::new(connection, environment)?;
    match command {
        ClientCommand::Status => status::run(&session).await,
        ClientCommand::Login(args) => login::run(&session, args).await,
        ClientCommand::Read(args) => read::run(&session, args).await,
        ClientCommand::Write(args) => write::run(&session, args).await,
        ClientCommand::List(args) => list::run(&session, args).await,
        ClientCommand::Delete(args) => delete::run(&session, args).await,
        ClientCommand::Kv { command } => kv::run(&session, command).await,
    }
}
