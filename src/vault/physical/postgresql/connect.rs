//! From hosts to a session with a server that is the primary, is set up safely and holds the tables.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, NoTls};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Socket};

use super::client::{Inbox, Session, Wakes};
use super::config::{Settings, Target, setting};
use super::failure::{Failure, chain};
use super::schema::{self, Tables};
use crate::base::task::{self, Guarded};
use crate::config::{ChannelBinding, PostgresqlHost};
use crate::vault::physical::unusable::Unusable;

/// The oldest server that will do, as `server_version_num` and for people.
const LEAST: (i32, &str) = (130_000, "13");
/// When a peer that says nothing is probed, how often, and how many times.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// Bytes that are not acknowledged for so long end the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);
/// How long TLS, log-in and preparation may take once a server is connected.
const LOG_IN: Duration = Duration::from_secs(3);
/// The settings that say who this node is.
const WHO: &str = "user and password in connection_url, password, tls_cert_file and tls_key_file";

type Opened = (Client, Inbox, Guarded<()>);

/// Connects to the first host that is a primary which can be used.
///
/// # Errors
/// What a person must change, if any host says so; otherwise what each host said.
pub(super) async fn connect(
    settings: &Arc<Settings>,
    purpose: &str,
    wakes: &Wakes,
) -> Result<Session, Failure> {
    let target = settings.target().await.map_err(Failure::Unusable)?;
    let (mut unusable, mut away) = (None, Vec::new());
    for number in settings.order(target.url.hosts.len()) {
        let Some(host) = target.url.hosts.get(number) else { continue };
        let address = address(host);
        let attempt = connect_to(settings, &target, host, &address, purpose, wakes);
        let limit = target.connect_timeout + LOG_IN;
        let outcome =
            tokio::time::timeout(limit, attempt).await.unwrap_or(Err(Failure::Late { address, limit }));
        match outcome {
            Ok(session) => {
                settings.prefer(number);
                return Ok(session);
            }
            Err(Failure::Unusable(reason)) => unusable = unusable.or(Some(reason)),
            Err(failure) => away.push(failure.to_string()),
        }
    }
    Err(unusable.map_or_else(|| Failure::Away(away.join("; ")), Failure::Unusable))
}

fn address(host: &PostgresqlHost) -> String {
    if host.name.contains(':') {
        format!("[{}]:{}", host.name, host.port)
    } else {
        format!("{}:{}", host.name, host.port)
    }
}

async fn connect_to(
    settings: &Settings,
    target: &Target,
    host: &PostgresqlHost,
    address: &str,
    purpose: &str,
    wakes: &Wakes,
) -> Result<Session, Failure> {
    let config = config(settings, target, host, purpose);
    let inbox = Inbox::new(wakes.clone(), &settings.tables);
    let opened = match &target.tls {
        Some(connector) => open(&config, connector.clone(), inbox).await,
        None => open(&config, NoTls, inbox).await,
    };
    let (client, inbox, driver) = opened.map_err(|error| refine(address, target, &error))?;
    let lost = |error: tokio_postgres::Error| refine(address, target, &error);
    client.batch_execute(&schema::settings(settings.request_timeout.as_millis())).await.map_err(lost)?;
    let mut about = About::ask(&client, &settings.tables).await.map_err(lost)?;
    about.judge(address)?;
    if !about.missing.is_empty() {
        create(&client, settings, address, &about).await?;
        about = About::ask(&client, &settings.tables).await.map_err(lost)?;
    }
    about.judge_tables(address)?;
    let prepared = Session::prepare(client, address.to_owned(), about.pid, &settings.tables, (inbox, driver));
    prepared.await.map_err(lost)
}

fn config(settings: &Settings, target: &Target, host: &PostgresqlHost, purpose: &str) -> Config {
    use tokio_postgres::config::{ChannelBinding as Binding, SslMode};
    let mut config = Config::new();
    config
        .user(&target.url.user)
        .dbname(&target.url.database)
        .host(&host.name)
        .port(host.port)
        .application_name(schema::application_name(&settings.id, purpose))
        .ssl_mode(if target.tls.is_some() { SslMode::Require } else { SslMode::Disable })
        .channel_binding(match target.url.channel_binding {
            ChannelBinding::Disable => Binding::Disable,
            ChannelBinding::Prefer => Binding::Prefer,
            ChannelBinding::Require => Binding::Require,
        })
        .connect_timeout(target.connect_timeout)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .keepalives_idle(KEEPALIVE.0)
        .keepalives_interval(KEEPALIVE.1)
        .keepalives_retries(KEEPALIVE.2);
    if let Some(password) = &target.password {
        config.password(password.expose());
    }
    config
}

async fn open<T>(config: &Config, tls: T, inbox: Inbox) -> Result<Opened, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = task::guard("storage-connection", inbox.clone().drive(connection));
    Ok((client, inbox, driver))
}

/// What a connection that fails says about the server.
fn refine(address: &str, target: &Target, error: &tokio_postgres::Error) -> Failure {
    let address = address.to_owned();
    if let Some(said) = error.as_db_error() {
        return refine_said(address, target, said.code(), said.message());
    }
    let is_tls = error.to_string().contains("TLS");
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            return Failure::Unusable(Unusable::Untrusted { address, reason: reason.to_string() });
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            let reason = format!("TLS alert {alert:?}");
            return Failure::Unusable(Unusable::Refused { address, reason, check: WHO });
        }
        _ => {}
    }
    let is_no_input = is_no_input(error);
    if is_tls && is_no_input {
        let reason = format!(
            "the host of {address} is no name that a certificate can have: write a DNS name or an IP address, or what the certificate says in tls_server_name"
        );
        return Failure::Unusable(setting("connection_url", reason));
    }
    // The client's own words, which have no other mark.
    let words = chain(error);
    if is_tls && words.contains("does not support TLS") {
        let reason = "it offers no TLS".to_owned();
        return Failure::Unusable(Unusable::WrongService {
            address,
            expected: "PostgreSQL with TLS",
            reason,
        });
    }
    if words.contains("password missing") {
        let reason = "it asks for a password, and none is given".to_owned();
        return Failure::Unusable(Unusable::Refused { address, reason, check: WHO });
    }
    if words.starts_with("authentication error") {
        return Failure::Unusable(Unusable::Refused { address, reason: words, check: WHO });
    }
    if is_no_input || words.starts_with("unexpected message") || words.starts_with("error parsing") {
        return Failure::Unusable(Unusable::WrongService { address, expected: "PostgreSQL", reason: words });
    }
    Failure::Lost { address, reason: words }
}

/// What the server itself says.
fn refine_said(address: String, target: &Target, state: &SqlState, message: &str) -> Failure {
    let reason = message.to_owned();
    if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(state) {
        return Failure::Unusable(Unusable::Refused { address, reason, check: WHO });
    }
    if *state == SqlState::UNDEFINED_DATABASE {
        let (database, user) = (&target.url.database, &target.url.user);
        let reason = format!(
            "{address} has no database {database:?}; an administrator creates it with CREATE DATABASE \"{database}\" OWNER \"{user}\""
        );
        return Failure::Unusable(setting("connection_url", reason));
    }
    if *state == SqlState::UNDEFINED_COLUMN {
        let reason = format!(
            "a table of that name at {address} belongs to something else ({reason}); give another name"
        );
        return Failure::Unusable(setting("table, ha_table", reason));
    }
    if *state == SqlState::INSUFFICIENT_PRIVILEGE {
        let what = format!("what role {:?} needs in database {:?}", target.url.user, target.url.database);
        return Failure::Unusable(Unusable::Forbidden { address, what, reason });
    }
    if [SqlState::UNDEFINED_FUNCTION, SqlState::SYNTAX_ERROR, SqlState::FEATURE_NOT_SUPPORTED].contains(state)
    {
        return Failure::Unusable(Unusable::WrongService { address, expected: "PostgreSQL", reason });
    }
    Failure::Refused { address, state: state.clone(), reason }
}

/// The error of the TLS library among the causes.
fn tls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    io_error(error)?.get_ref()?.downcast_ref()
}

/// Whether something cannot be read as what it should be: a message of a server, or the name of a host.
fn is_no_input(error: &tokio_postgres::Error) -> bool {
    io_error(error).is_some_and(|cause| cause.kind() == std::io::ErrorKind::InvalidInput)
}

fn io_error(error: &tokio_postgres::Error) -> Option<&std::io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

/// What a server says about itself and the tables.
struct About {
    pid: i32,
    version_number: i32,
    version: String,
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    encoding: String,
    is_read_only: bool,
    role: String,
    missing: Vec<String>,
    volatile: Vec<String>,
    forbidden: Vec<String>,
}

impl About {
    async fn ask(client: &Client, tables: &Tables) -> Result<Self, tokio_postgres::Error> {
        let names = tables.names();
        let row = client.query_typed_one(schema::ABOUT, &[(&names, Type::TEXT_ARRAY)]).await?;
        Ok(Self {
            pid: row.try_get(0)?,
            version_number: row.try_get(1)?,
            version: row.try_get(2)?,
            fsync: row.try_get(3)?,
            full_page_writes: row.try_get(4)?,
            synchronous_commit: row.try_get(5)?,
            encoding: row.try_get(6)?,
            is_read_only: row.try_get(7)?,
            role: row.try_get(8)?,
            missing: row.try_get(9)?,
            volatile: row.try_get(10)?,
            forbidden: row.try_get(11)?,
        })
    }

    /// Whether the server can be used at all.
    fn judge(&self, address: &str) -> Result<(), Failure> {
        let address = address.to_owned();
        if self.version_number < LEAST.0 {
            let found = self.version.clone();
            return Err(Failure::Unusable(Unusable::TooOld { address, found, least: LEAST.1 }));
        }
        if self.is_read_only {
            return Err(Failure::Away(format!(
                "{address} is read-only: a standby, or set to default_transaction_read_only"
            )));
        }
        let durable = [
            ("fsync", &self.fsync, "set it to on and restart the server"),
            ("full_page_writes", &self.full_page_writes, "set it to on and reload the server"),
        ];
        for (name, value, change) in durable {
            if value != "on" {
                let setting = format!("{name} is {value}");
                return Err(Failure::Unusable(Unusable::NotDurable { address, setting, change }));
            }
        }
        if !matches!(self.synchronous_commit.as_str(), "on" | "remote_apply") {
            let setting =
                format!("synchronous_commit stays {} although it was set to on", self.synchronous_commit);
            let change = "connect without anything in between that keeps settings from the server";
            return Err(Failure::Unusable(Unusable::NotDurable { address, setting, change }));
        }
        if self.encoding != "UTF8" {
            let reason = format!(
                "the database at {address} has the encoding {}; create one with ENCODING 'UTF8' TEMPLATE template0",
                self.encoding
            );
            return Err(Failure::Unusable(setting("connection_url", reason)));
        }
        Ok(())
    }

    /// Whether the tables can be used.
    fn judge_tables(&self, address: &str) -> Result<(), Failure> {
        let address = address.to_owned();
        if let Some(name) = self.volatile.first() {
            let setting = format!("the table {name} is UNLOGGED or TEMPORARY");
            let change = "run ALTER TABLE … SET LOGGED, or make it anew";
            return Err(Failure::Unusable(Unusable::NotDurable { address, setting, change }));
        }
        if !self.forbidden.is_empty() {
            let names = self.forbidden.join(", ");
            let what = format!("SELECT, INSERT, UPDATE and DELETE on {names}");
            let reason = format!("role {:?} lacks a right", self.role);
            return Err(Failure::Unusable(Unusable::Forbidden { address, what, reason }));
        }
        Ok(())
    }
}

/// Makes the tables that are missing.
async fn create(client: &Client, settings: &Settings, address: &str, about: &About) -> Result<(), Failure> {
    let instead = |why: &str| {
        let (names, manual) = (about.missing.join(", "), settings.tables.manual(&about.role));
        let reason =
            format!("{address} has no table {names}, and {why}; an administrator must run:\n{manual}");
        Failure::Unusable(setting("table", reason))
    };
    if !settings.may_create {
        return Err(instead("skip_create_table is set"));
    }
    // Sent as one text, it is one transaction.
    let mut all = vec![schema::CREATE_TURN.to_owned()];
    all.extend(settings.tables.create());
    match client.batch_execute(&all.join("; ")).await {
        Ok(()) => {
            tracing::info!(address, tables = about.missing.join(", "), "made the tables");
            Ok(())
        }
        Err(error) => match error.as_db_error() {
            Some(said) => Err(instead(&format!("this node may not make it ({})", said.message()))),
            None => Err(Failure::Lost { address: address.to_owned(), reason: chain(&error) }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        let on = || "on".to_owned();
        About {
            pid: 1,
            version_number: 130_000,
            version: "13.0".to_owned(),
            fsync: on(),
            full_page_writes: on(),
            synchronous_commit: on(),
            encoding: "UTF8".to_owned(),
            is_read_only: false,
            role: "holdfast".to_owned(),
            missing: Vec::new(),
            volatile: Vec::new(),
            forbidden: Vec::new(),
        }
    }

    #[test]
    fn servers_that_no_test_can_start_are_refused_too() {
        assert!(about().judge("db:5432").is_ok());
        let old = About { version_number: 120_022, version: "12.22 (Debian)".to_owned(), ..about() };
        let off = About { synchronous_commit: "off".to_owned(), ..about() };
        let said = [old, off].map(|about| about.judge("db:5432").unwrap_err().to_string());
        insta::assert_snapshot!("unusable", said.join("\n\n"));
        let applied = About { synchronous_commit: "remote_apply".to_owned(), ..about() };
        assert!(applied.judge("db:5432").is_ok());
        let standby = About { is_read_only: true, ..about() };
        assert!(matches!(standby.judge("db:5432"), Err(Failure::Away(_))));
    }

    #[test]
    fn addresses_are_written_as_people_write_them() {
        let shown = |name: &str| address(&PostgresqlHost { name: name.to_owned(), port: 5432 });
        assert_eq!((shown("db"), shown("fd00::1")), ("db:5432".to_owned(), "[fd00::1]:5432".to_owned()));
    }
}
