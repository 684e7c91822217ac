//! The log: lines of JSON or text on standard error, each with the fields of the spans around it.

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Why logging cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoggingError {
    /// It was set up before in this process.
    #[error("logging is set up already")]
    Twice,
}

/// The libraries below us log warnings only, unless everything is asked for.
fn filter(level: LogLevel) -> Targets {
    let (own, others) = match level {
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
    };
    Targets::new().with_default(others).with_target("holdfast", own)
}

/// Sets up the log of this process.
///
/// # Errors
/// When it was set up before.
pub fn start(config: LogConfig) -> Result<(), LoggingError> {
    let filter = filter(config.level);
    let registry = tracing_subscriber::registry();
    let done = match config.format {
        LogFormat::Text => registry
            .with(fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(filter))
            .try_init(),
        LogFormat::Json => registry
            .with(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_span_list(false)
                    .with_writer(std::io::stderr)
                    .with_filter(filter),
            )
            .try_init(),
    };
    done.map_err(|_| LoggingError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quieter_than_ourselves() {
        let filter = filter(LogLevel::Debug);
        assert!(filter.would_enable("holdfast::vault", &tracing::Level::DEBUG));
        assert!(!filter.would_enable("hyper", &tracing::Level::INFO));
        assert!(filter.would_enable("hyper", &tracing::Level::WARN));
    }
}
