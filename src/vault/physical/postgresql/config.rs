//! Settings, and where they lead at the moment: URL, password and certificates are read again for every connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::schema::{Needs, Tables};
use super::tls::Connector;
use crate::base::id;
use crate::base::random::SystemRandom;
use crate::base::secret::{SecretBytes, SecretString};
use crate::config::{ClientTls, Credential, PostgresqlClash, PostgresqlStorage, PostgresqlUrl};
use crate::vault::physical::tls::client_config;
use crate::vault::physical::unusable::Unusable;

/// The storage as configuration names it.
pub(super) const KIND: &str = "postgresql";
/// The setting that says where the database is.
const URL: &str = "connection_url";
/// How long a server may take to accept a connection, if the URL does not say.
const CONNECT: Duration = Duration::from_secs(2);
/// Characters that tell the sessions of one instance from those of another.
const ID_CHARS: usize = 12;

/// The settings of one instance.
pub(super) struct Settings {
    config: PostgresqlStorage,
    /// The database when the instance was opened.
    pub(super) database: String,
    pub(super) tables: Tables,
    pub(super) may_create: bool,
    /// How long one request may take.
    pub(super) request_timeout: Duration,
    /// Names this instance's sessions.
    pub(super) id: String,
    /// The host that was found to be the primary last.
    preferred: AtomicUsize,
}

/// Where to connect, now.
pub(super) struct Target {
    pub(super) url: PostgresqlUrl,
    pub(super) password: Option<SecretBytes>,
    /// `None`: without TLS.
    pub(super) tls: Option<Connector>,
    pub(super) connect_timeout: Duration,
}

impl Settings {
    /// Reads the configuration and what it names.
    pub(super) async fn new(config: &PostgresqlStorage, needs: Needs) -> Result<Self, Unusable> {
        let mut settings = Self {
            config: config.clone(),
            database: String::new(),
            tables: Tables::new(&config.table, config.ha_table.as_deref(), needs),
            may_create: !config.skip_create_table,
            request_timeout: config.request_timeout,
            id: id::base62(&SystemRandom, ID_CHARS),
            preferred: AtomicUsize::new(0),
        };
        settings.database = settings.target().await?.url.database;
        Ok(settings)
    }

    /// Where to connect, as URL, password and certificates are now.
    pub(super) async fn target(&self) -> Result<Target, Unusable> {
        let missing = || setting(URL, "there is none".to_owned());
        let connection_url = self.config.connection_url.as_ref().ok_or_else(missing)?;
        let text = secret(URL, connection_url).await?;
        // A text that lies in a file is called by the name of the file as well.
        let wrong = |reason: String| match connection_url {
            Credential::File(path) => Unusable::File { key: URL, path: path.display().to_string(), reason },
            Credential::Text(_) => setting(URL, reason),
        };
        let mut url = PostgresqlUrl::parse(&text).map_err(|error| wrong(error.to_string()))?;
        match self.config.clashes(&url, URL).into_iter().next() {
            None => {}
            Some(PostgresqlClash { key: URL, reason }) => return Err(wrong(format!("it {reason}"))),
            Some(PostgresqlClash { key, reason }) => return Err(setting(key, format!("it {reason}"))),
        }
        if !self.database.is_empty() && url.database != self.database {
            return Err(wrong(
                "it names another database than when the server started: restart the server to move"
                    .to_owned(),
            ));
        }
        let password = match &self.config.password {
            Some(password) => Some(SecretBytes::new(secret("password", password).await?.expose().into())),
            None => url.password.take(),
        };
        let tls = if url.has_tls { Some(self.connector(&url).await?) } else { None };
        let connect_timeout = url.connect_timeout.unwrap_or(CONNECT);
        Ok(Target { url, password, tls, connect_timeout })
    }

    async fn connector(&self, url: &PostgresqlUrl) -> Result<Connector, Unusable> {
        let tls = ClientTls {
            ca_file: self.config.tls.ca_file.clone().or_else(|| url.ca_file.clone()),
            cert_file: self.config.tls.cert_file.clone().or_else(|| url.cert_file.clone()),
            key_file: self.config.tls.key_file.clone().or_else(|| url.key_file.clone()),
            server_name: self.config.tls.server_name.clone(),
        };
        let config = client_config(&tls, &[]).await?;
        Connector::new(config, tls.server_name.as_deref())
    }

    /// The hosts by number, the one first that was the primary last.
    pub(super) fn order(&self, hosts: usize) -> impl Iterator<Item = usize> {
        let first = self.preferred.load(Ordering::Relaxed);
        (0..hosts).map(move |n| (first + n) % hosts)
    }

    /// Notes that host `number` is the primary.
    pub(super) fn prefer(&self, number: usize) {
        self.preferred.store(number, Ordering::Relaxed);
    }
}

pub(super) fn setting(key: &'static str, reason: String) -> Unusable {
    Unusable::Setting { key, reason }
}

async fn secret(key: &'static str, credential: &Credential) -> Result<SecretString, Unusable> {
    let read = credential.read().await;
    read.map_err(|error| Unusable::File { key, path: error.path, reason: error.reason })
}
