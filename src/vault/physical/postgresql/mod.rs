//! Storage and lock in a PostgreSQL database.
//!
//! One prepared statement is a whole commit: it replaces the head's row if that is still the expected one, changes the
//! rows of the batch, writes the journal and notifies. A node keeps four connections: commits, reads, proofs and the
//! lock, and notifications. `docs/storage/postgresql.md` says what the server must be set up for.
//!
//! A transaction whose wait for a synchronous standby was broken off is visible, but may be lost with the server. So
//! nothing that this instance could not finish is shown or called fenced before a check, which waits for the standbys
//! behind it in the log, has succeeded.

mod backend;
mod client;
mod commit;
mod config;
mod connect;
mod failure;
mod feed;
mod register;
mod schema;
mod tls;

pub use backend::{PostgresqlBackend, open, open_lock};
pub use register::PostgresqlRegister;
