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

use args::{Cli, Command, OperatorCommand};
use connect::Session;
use failure::Failure;
use output::Report;

use crate::config::Environment;

/// Runs the command named by the process's arguments and returns its exit code:
/// 0 for success, 1 for a failure on this side, 2 for a refusal by the server.
pub fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse_from(dashes::doubled(std::env::args())) {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error),
    };
    let environment = Environment::process();
    if let Command::Server(args) = &cli.command {
        return output::finish(server::run(args, &environment));
    }
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(client_command(cli, &environment)),
        Err(error) => Err(Failure::local(format!("the runtime cannot start: {error}"))),
    };
    output::finish(outcome)
}

/// Runs a command that calls a server.
async fn client_command(cli: Cli, environment: &Environment) -> Result<Report, Failure> {
    let session = Session::new(&cli.connection, environment)?;
    match cli.command {
        Command::Status => status::run(&session).await,
        Command::Login(args) => login::run(&session, args).await,
        Command::Read(args) => read::run(&session, args).await,
        Command::Write(args) => write::run(&session, args).await,
        Command::List(args) => list::run(&session, args).await,
        Command::Delete(args) => delete::run(&session, args).await,
        Command::Server(_) => Err(Failure::local("a server is no client: it starts before a session is made")),
        Command::Crd(args) => crd::run(&args),
        Command::Probe(args) => probe::run(&args).await,
        Command::Kv { command } => kv::run(&session, command).await,
        Command::Operator { command } => match command {
            OperatorCommand::Init(args) => init::run(&session, args).await,
            OperatorCommand::Unseal(args) => unseal::run(&session, args).await,
            OperatorCommand::Seal => seal::run(&session).await,
            OperatorCommand::StepDown => step_down::run(&session).await,
        },
    }
}
