//! `storage "postgresql"` and `ha_storage "postgresql"`.

use super::credential::{Credential, credential};
use super::tls::{ClientTls, client_tls};
use crate::config::parse::Context;
use crate::config::section::Section;

/// Where a PostgreSQL database is, and who this node is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresqlStorage {
    /// `connection_url`: `postgres://user:password@host:5432/database?sslmode=verify-full`. A secret as a whole, for
    /// the password in it; `None` was reported.
    pub connection_url: Option<Credential>,
    /// `password`, if it is not in the URL.
    pub password: Option<Credential>,
    /// `table`: the first part of the names of the tables.
    pub table: String,
    /// `tls_*`.
    pub tls: ClientTls,
}

/// Reads `storage "postgresql" { … }`.
pub(super) fn storage(section: &mut Section<'_>, context: &Context<'_>) -> PostgresqlStorage {
    PostgresqlStorage {
        connection_url: credential(section, "connection_url", context),
        password: credential(section, "password", context),
        table: section.text("table").unwrap_or_else(|| "holdfast".to_owned()),
        tls: client_tls(section),
    }
}
