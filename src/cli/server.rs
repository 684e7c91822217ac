//! `server`: runs a vault server until it is asked to end.

use super::args::ServerArgs;
use super::failure::Failure;
use super::output::Report;
use crate::base::secret::SecretString;
use crate::config::{self, Environment, LogConfig, LogFormat, LogLevel, ServerConfig};
use crate::telemetry::logging;
use crate::vault::node::{self, BackendTable};

/// Runs the command.
pub(super) async fn run(
    args: ServerArgs,
    environment: &Environment,
    backends: &BackendTable,
) -> Result<Report, Failure> {
    let mut config = if args.dev {
        let token = args.dev_root_token_id.map(SecretString::new);
        let config = ServerConfig::development(args.dev_listen_address.as_deref(), token, environment);
        config.map_err(|problem| Failure::local(problem.to_string()))?
    } else if args.config.is_empty() {
        return Err(Failure::local("Must specify at least one configuration with -config=FILE, or use -dev"));
    } else {
        config::load(&args.config, environment).map_err(|problems| Failure::local(problems.to_string()))?
    };
    config.log = log(config.log, args.log_level.as_deref(), args.log_format.as_deref())?;
    logging::start(config.log).map_err(|e| Failure::local(e.to_string()))?;
    let ran = node::run(&config, environment, backends).await;
    ran.map_err(|error| Failure::local(format!("Error starting the server: {error}")))?;
    Ok(Report { ends_line: false, ..Report::text("") })
}

/// Log settings with the flags on top.
fn log(mut log: LogConfig, level: Option<&str>, format: Option<&str>) -> Result<LogConfig, Failure> {
    let wrong =
        |flag, value, expected| Failure::local(format!("flag {flag} is {value:?}, expected {expected}"));
    if let Some(level) = level {
        log.level = LogLevel::parse(level).ok_or_else(|| wrong("-log-level", level, LogLevel::NAMES))?;
    }
    if let Some(format) = format {
        log.format =
            LogFormat::parse(format).ok_or_else(|| wrong("-log-format", format, LogFormat::NAMES))?;
    }
    Ok(log)
}
