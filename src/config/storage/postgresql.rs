//! `storage "postgresql"` and `ha_storage "postgresql"`.

use std::path::PathBuf;
use std::time::Duration;

use super::credential::{Credential, credential};
use super::postgresql_url::PostgresqlUrl;
use super::tls::{ClientTls, client_tls};
use crate::base::secret::SecretString;
use crate::config::env;
use crate::config::parse::Context;
use crate::config::problem::{Place, Problem};
use crate::config::section::Section;

/// The setting that says where the database is.
const URL: &str = "connection_url";
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

    /// What `url`, which messages call `name`, and the other settings say twice, or to no effect.
    pub fn clashes(&self, url: &PostgresqlUrl, name: &str) -> Vec<PostgresqlClash> {
        let tls = &self.tls;
        let mut found = Vec::new();
        let mut note = |key, reason: String| found.push(PostgresqlClash { key, reason });
        let twice = |what: &str| format!("is given and {name} has {what} as well: remove one of the two");
        if url.password.is_some() && self.password.is_some() {
            note("password", twice("a password"));
        }
        if url.cert_file.is_some() != url.key_file.is_some() {
            note(URL, "cannot be used: sslcert and sslkey need each other".to_owned());
        }
        let files = [
            ("tls_ca_file", tls.ca_file.is_some(), "sslrootcert", url.ca_file.is_some()),
            ("tls_cert_file", tls.cert_file.is_some(), "sslcert", url.cert_file.is_some()),
            ("tls_key_file", tls.key_file.is_some(), "sslkey", url.key_file.is_some()),
        ];
        let given = files.into_iter().chain([("tls_server_name", tls.server_name.is_some(), "", false)]);
        for (key, is_given, parameter, is_in_url) in given {
            if url.has_tls {
                if is_given && is_in_url {
                    note(key, twice(parameter));
                }
                continue;
            }
            if is_given {
                note(key, format!("has no effect with sslmode=disable in {name}: remove one of the two"));
            }
            if is_in_url {
                note(
                    URL,
                    format!(
                        "cannot be used: {parameter} has no effect with sslmode=disable: remove one of the two"
                    ),
                );
            }
        }
        found
    }
}

/// A setting that says again what the URL says, or has no effect beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresqlClash {
    /// The setting.
    pub key: &'static str,
    /// What is the matter with it and what to do, as said of it: "is given and …".
    pub reason: String,
}

/// Reads `storage "postgresql" { … }`.
pub(super) fn storage(section: &mut Section<'_>, context: &Context<'_>) -> PostgresqlStorage {
    const NAME: &str =
        "a table's name: lower-case letters, digits and _, at most 48, perhaps with schema. before it";
    let defaults = PostgresqlStorage::at(Credential::Text(SecretString::new(String::new())));
    let given = credential(section, URL, context);
    let from_environment = environment(context);
    let name = match &from_environment {
        Some(_) => format!("environment variable {}", env::VAULT_PG_CONNECTION_URL.name),
        None => URL.to_owned(),
    };
    let mut storage = PostgresqlStorage {
        connection_url: from_environment.or(given),
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
        None if section.has(URL) => {}
        None => section.report(Problem::Missing {
            place: section.place(),
            section: section.name().to_owned(),
            what: "connection_url: write connection_url = \"postgres://user@host:5432/database\", or set VAULT_PG_CONNECTION_URL"
                .to_owned(),
        }),
        // What a file holds is judged when it is read.
        Some(Credential::File(_)) => {}
        Some(Credential::Text(text)) => check(section, text, &storage, &name),
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

/// Notes what is wrong with the URL, which messages call `name`, alone and beside the other settings.
fn check(section: &mut Section<'_>, text: &SecretString, storage: &PostgresqlStorage, name: &str) {
    // A variable does not stand in the block, which may hold a good URL.
    let place = if name == URL { section.place_of(URL) } else { Place::default() };
    let about_url =
        |reason: String| Problem::Conflict { place: place.clone(), message: format!("{name} {reason}") };
    match PostgresqlUrl::parse(text) {
        Ok(url) => {
            for PostgresqlClash { key, reason } in storage.clashes(&url, name) {
                if key == URL {
                    section.report(about_url(reason));
                } else {
                    section.conflict(key, &format!("{key} {reason}"));
                }
            }
        }
        Err(error) => section.report(about_url(format!("cannot be used: {error}"))),
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
