//! `telemetry` and the log settings.

use std::net::SocketAddr;

use super::listener::socket_address;
use super::section::Section;

/// Probes and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// Address of the listener for probes and metrics; `None`: there is none.
    pub probe_address: Option<SocketAddr>,
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The lowest level that is logged.
    pub level: LogLevel,
    /// The form.
    pub format: LogFormat,
}

/// A log level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For finding faults.
    Debug,
    /// What an operator of the cluster wants to know.
    #[default]
    Info,
    /// What may need attention.
    Warn,
    /// What failed.
    Error,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogLevel {
    /// Reads Vault's names.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" | "notice" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "err" | "error" => Self::Error,
            _ => return None,
        })
    }

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The names, for messages.
    pub const NAMES: &str = "trace, debug, info, warn or error";
}

impl LogFormat {
    /// Reads Vault's names (`standard`, `json`) and `text`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "standard" | "text" => Self::Text,
            "json" => Self::Json,
            _ => return None,
        })
    }

    /// The names, for messages.
    pub const NAMES: &str = "standard or json";
}

/// Reads `telemetry { … }`.
pub(super) fn telemetry(section: &mut Section<'_>) -> TelemetryConfig {
    let expected = "an address such as 0.0.0.0:8202";
    TelemetryConfig {
        probe_address: section.parsed("probe_address", expected, |text| socket_address(text, 8202)),
    }
}
