//! Thin helpers above the Kubernetes client, and the words that operator and server share in objects.

pub mod client;
pub mod lease;
pub mod words;
