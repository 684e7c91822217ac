//! A typed client of the API.
//!
//! It follows one redirect, and tries again only what cannot have been carried out or may be carried out twice.

mod call;
mod error;
mod tls;
mod transport;

#[cfg(test)]
mod tests;

pub use call::{Answer, Call};
pub use error::ClientError;
pub use tls::Trust;
pub use transport::{Client, ClientConfig};
