//! Storage and locks against real servers.

#[path = "../support/apiserver.rs"]
mod apiserver;

mod kubernetes;
