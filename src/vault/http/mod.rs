//! The HTTP face of the server: routes, status codes, forwarding, TLS.
//!
//! A request comes in through `listen`, gets a body and a UUID in `serve`, becomes a call in `inbound`, and is
//! carried out where `route` decides. `respond` has the only mapping from error classes to statuses.

pub mod cluster;
pub mod lifecycle;
pub mod tls;

pub(crate) mod listen;
pub(crate) mod peer;
pub(crate) mod pool;
pub(crate) mod serve;

mod bodies;
mod dial;
mod forward;
mod hold;
mod inbound;
mod index;
mod line;
mod local;
mod measure;
mod meter;
mod query;
mod respond;
mod route;
mod scouts;

#[cfg(test)]
mod tests;
