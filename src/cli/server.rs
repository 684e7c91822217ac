//! `server`: runs the vault core in the foreground.

use super::args::ServerArgs;
use super::failure::Failure;
use super::output::Report;
use crate::base::secret::SecretString;
use crate::config::{self, Environment, ServerConfig};
use crate::telemetry::logging;
use crate::vault::node::{self, BackendTable};

/// Runs the server until it is asked to end.
pub(super) fn run(args: &ServerArgs, environment: &Environment) -> Result<Report, Failure> {
    let config = read(args, environment)?;
    logging::start(config.log).map_err(|error| Failure::local(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local(format!("the runtime cannot start: {error}")))?;
    let ended = runtime.block_on(node::run(&config, environment, &BackendTable::default()));
    // Tasks that wait for a storage or a peer must not hold up the end.
    runtime.shutdown_background();
    ended.map_err(|error| Failure::local(format!("Error starting the server: {error}")))?;
    Ok(Report::text(String::new()))
}

fn read(args: &ServerArgs, environment: &Environment) -> Result<ServerConfig, Failure> {
    if args.dev {
        let token = args.dev_root_token_id.clone().map(SecretString::new);
        return ServerConfig::development(args.dev_listen_address.as_deref(), token, environment)
            .map_err(|problem| Failure::local(problem.to_string()));
    }
    if args.config.is_empty() {
        return Err(Failure::local("Must specify at least one configuration with -config=FILE, or use -dev"));
    }
    config::load(&args.config, environment).map_err(|problems| Failure::local(problems.to_string()))
}
