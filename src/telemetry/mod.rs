//! Logs, metrics and their small HTTP listener.
