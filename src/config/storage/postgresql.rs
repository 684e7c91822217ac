//! `storage "postgresql"` and `ha_storage "postgresql"`.

use std::path::PathBuf;
use std::time::Duration;

use super::credential::{Credential, credential};
use super::postgresql_url::PostgresqlUrl;
use super::tls::{ClientTls, client_tls};
use crate::base::secret::SecretString;
use crate::config::env;
use crate::config::parse::Context;
use crate::config::problem::Problem;
use crate::config::section::Section;

/// Most characters of a table's name, and of its schema: with the longest suffix it is still an identifier.
const NAME_CHARS: usize = 48;

/// Where a PostgreSQL database is, and who this node is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresqlStorage {
    /// `connection_url`: `postgres://user:password@host:5432/database?sslmode=verify-full`. A secret as a whole, for
    /// the password in it; `None` was reported.
    pub connection_url: Option<Credential>,
    /// `password`, if it is not in the URL.
    pub password: Option<Credential>,
    /// `table`: the first part of the names of the tables, with `schema.` before it if they lie in a certain one.
    pub table: String,
    /// `ha_table`: the table of the lock; `None`: `<table>_lock`.
    pub ha_table: Option<String>,
    /// `skip_create_table`: an administrator makes the tables.
    pub skip_create_table: bool,
    /// `tls_*`.
    pub tls: ClientTls,
    /// `request_timeout`: how long one request may take.
    pub request_timeout: Duration,
}

impl PostgresqlStorage {
    /// Everything but the place at its default.
    pub fn at(connection_url: Credential) -> Self {
        Self {
            connection_url: Some(connection_url),
            password: None,
            table: "holdfast".to_owned(),
            ha_table: None,
            skip_create_table: false,
            tls: ClientTls::default(),
            request_timeout: Duration::from_secs(5),
        }
    }
}

/// Reads `storage "postgresql" { … }`.
pub(super) fn storage(section: &mut Section<'_>, context: &Context<'_>) -> PostgresqlStorage {
    const NAME: &str =
        "a table's name: lower-case letters, digits and _, at most 48, perhaps with schema. before it";
    let defaults = PostgresqlStorage::at(Credential::Text(SecretString::new(String::new())));
    let given = credential(section, "connection_url", context);
    let mut storage = PostgresqlStorage {
        connection_url: environment(context).or(given),
        password: credential(section, "password", context),
        table: section.text_where("table", is_table, NAME).unwrap_or(defaults.table),
        ha_table: section.text_where("ha_table", is_table, NAME),
        tls: client_tls(section),
        ..defaults
    };
    section.flag("skip_create_table", &mut storage.skip_create_table);
    section.duration(
        "request_timeout",
        Duration::from_millis(100)..=Duration::from_secs(60),
        &mut storage.request_timeout,
    );
    match &storage.connection_url {
        None if section.has("connection_url") => {}
        None => section.report(Problem::Missing {
            place: section.place(),
            section: section.name().to_owned(),
            what: "connection_url: write connection_url = \"postgres://user@host:5432/database\", or set VAULT_PG_CONNECTION_URL"
                .to_owned(),
        }),
        // What a file holds is judged when it is read.
        Some(Credential::File(_)) => {}
        Some(Credential::Text(text)) => check(section, text, &storage),
    }
    storage
}

/// The URL of the environment, which wins as it does in Vault.
fn environment(context: &Context<'_>) -> Option<Credential> {
    let text = SecretString::new(context.environment.get(env::VAULT_PG_CONNECTION_URL)?);
    Some(match text.expose().strip_prefix("file://") {
        Some(path) => Credential::File(PathBuf::from(path)),
        None => Credential::Text(text),
    })
}

/// Notes what is wrong with the URL, alone and beside the other settings.
fn check(section: &mut Section<'_>, text: &SecretString, storage: &PostgresqlStorage) {
    let url = match PostgresqlUrl::parse(text) {
        Ok(url) => url,
        Err(error) => {
            return section.conflict("connection_url", &format!("connection_url cannot be used: {error}"));
        }
    };
    if url.password.is_some() && storage.password.is_some() {
        section.conflict(
            "password",
            "password is given and connection_url holds one as well: remove one of the two",
        );
    }
    if url.cert_file.is_some() != url.key_file.is_some() {
        section
            .conflict("connection_url", "connection_url cannot be used: sslcert and sslkey need each other");
    }
    let twice = [
        ("tls_ca_file", "sslrootcert", url.ca_file.is_some() && storage.tls.ca_file.is_some()),
        ("tls_cert_file", "sslcert", url.cert_file.is_some() && storage.tls.cert_file.is_some()),
    ];
    for (key, parameter, _) in twice.into_iter().filter(|(_, _, is_twice)| *is_twice) {
        section.conflict(
            key,
            &format!("{key} is given and connection_url has {parameter} as well: remove one of the two"),
        );
    }
}

/// Whether `text` is `table` or `schema.table`.
fn is_table(text: &str) -> bool {
    let (schema, table) = text.split_once('.').map_or((None, text), |(schema, table)| (Some(schema), table));
    let is_name = |name: &str| {
        name.len() <= NAME_CHARS
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
    };
    is_name(table) && schema.is_none_or(is_name)
}
