//! The log: lines of JSON or text on standard error, each with the fields of the spans around it.

use std::str::FromStr;

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged. The libraries below us log warnings only, unless `Trace` is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Everything, the libraries included.
    Trace,
    /// What helps to follow one request.
    Debug,
    /// What a person who runs the cluster wants to read.
    #[default]
    Info,
    /// What should be looked at.
    Warn,
    /// What has failed.
    Error,
}

/// Why logging cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoggingError {
    /// The word names no level.
    #[error("{0:?} is no log level; use trace, debug, info, warn or error")]
    Level(String),
    /// The word names no format.
    #[error("{0:?} is no log format; use standard or json")]
    Format(String),
    /// It was set up before in this process.
    #[error("logging is set up already")]
    Twice,
}

impl FromStr for LogLevel {
    type Err = LoggingError;

    fn from_str(text: &str) -> Result<Self, LoggingError> {
        match text.to_ascii_lowercase().as_str() {
            "trace" => Ok(Self::Trace),
            "debug" => Ok(Self::Debug),
            "" | "info" | "notice" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" | "err" => Ok(Self::Error),
            _ => Err(LoggingError::Level(text.to_owned())),
        }
    }
}

impl FromStr for LogFormat {
    type Err = LoggingError;

    fn from_str(text: &str) -> Result<Self, LoggingError> {
        match text.to_ascii_lowercase().as_str() {
            "" | "standard" | "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(LoggingError::Format(text.to_owned())),
        }
    }
}

impl LogLevel {
    fn filter(self) -> Targets {
        let (own, others) = match self {
            Self::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
            Self::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
            Self::Info => (LevelFilter::INFO, LevelFilter::WARN),
            Self::Warn => (LevelFilter::WARN, LevelFilter::WARN),
            Self::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        };
        Targets::new().with_default(others).with_target("holdfast", own)
    }
}

/// Sets up the log of this process.
///
/// # Errors
/// When it was set up before.
pub fn start(level: LogLevel, format: LogFormat) -> Result<(), LoggingError> {
    let filter = level.filter();
    let registry = tracing_subscriber::registry();
    let done = match format {
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
    fn levels_and_formats_are_read_as_vault_writes_them() {
        assert_eq!("WARN".parse(), Ok(LogLevel::Warn));
        assert_eq!("".parse(), Ok(LogLevel::Info));
        assert_eq!("standard".parse(), Ok(LogFormat::Text));
        assert_eq!(
            "loud".parse::<LogLevel>().unwrap_err().to_string(),
            "\"loud\" is no log level; use trace, debug, info, warn or error"
        );
        assert_eq!(
            "xml".parse::<LogFormat>().unwrap_err().to_string(),
            "\"xml\" is no log format; use standard or json"
        );
    }

    #[test]
    fn libraries_are_quieter_than_ourselves() {
        let filter = LogLevel::Debug.filter();
        assert!(filter.would_enable("holdfast::vault", &tracing::Level::DEBUG));
        assert!(!filter.would_enable("hyper", &tracing::Level::INFO));
        assert!(filter.would_enable("hyper", &tracing::Level::WARN));
    }
}
