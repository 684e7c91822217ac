//! Logs, metrics and their small HTTP listener, the same for server and operator.

pub mod logging;
pub mod metrics;
pub mod probe;

pub use logging::LoggingError;
pub use metrics::Metrics;
pub use probe::{Probe, serve};
