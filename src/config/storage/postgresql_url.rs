//! [`PostgresqlUrl`]: where a database is and who logs in, from `postgres://user:password@host:5432/database?…`.
//!
//! No message of this file repeats any part of the URL: a password with an unescaped character may stand
//! anywhere in it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::base::class::ErrorClass;
use crate::base::secret::{SecretBytes, SecretString};

/// The port of a host that names none.
const PORT: u16 = 5432;
/// Most hosts of a URL.
const HOSTS: usize = 16;
/// The parameters that are understood.
const PARAMETERS: &str =
    "sslmode, sslrootcert, sslcert, sslkey, channel_binding, connect_timeout and target_session_attrs";

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresqlHost {
    /// Its name or IP address; IPv6 without brackets.
    pub name: String,
    /// Its port.
    pub port: u16,
}

impl PostgresqlHost {
    /// Whether it is on this machine whatever a name server says.
    fn is_loopback(&self) -> bool {
        self.name == "localhost" || self.name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// Whether the log-in is tied to the TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server can.
    #[default]
    Prefer,
    /// Or not at all.
    Require,
}

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresqlUrl {
    /// The servers, in the order in which they are tried; at least one, at most 16.
    pub hosts: Vec<PostgresqlHost>,
    /// Who logs in.
    pub user: String,
    /// With which password; it need not be UTF-8.
    pub password: Option<SecretBytes>,
    /// The database; that of the user's name if none is given.
    pub database: String,
    /// Whether TLS is spoken. Without it, all hosts are on this machine.
    pub has_tls: bool,
    /// `sslrootcert`.
    pub ca_file: Option<PathBuf>,
    /// `sslcert`.
    pub cert_file: Option<PathBuf>,
    /// `sslkey`.
    pub key_file: Option<PathBuf>,
    /// `channel_binding`.
    pub channel_binding: ChannelBinding,
    /// `connect_timeout`: how long a server may take to accept a connection.
    pub connect_timeout: Option<Duration>,
}

/// Why a URL cannot be used; its text says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PostgresqlUrlError {
    /// Not a URL of this kind.
    #[error("it must be a URL such as postgres://user:password@host:5432/database")]
    NotUrl,
    /// Nobody is named.
    #[error("it names no user: write postgres://user:password@host:5432/database")]
    NoUser,
    /// A host cannot be one.
    #[error(
        "it has no host where one belongs: write host or host:port, IPv6 in brackets, with commas between several, at most 16; characters such as / @ ? in user or password must be percent-encoded"
    )]
    Host,
    /// The path of a socket.
    #[error("it names a Unix socket, which is not supported: name a host and a port")]
    Socket,
    /// A port cannot be one.
    #[error(
        "it has a port that is not a number from 1 to 65535; characters such as / @ ? in user or password must be percent-encoded"
    )]
    Port,
    /// A `%` without two digits behind it, or text that is not UTF-8.
    #[error(
        "it has a % that is not followed by two hexadecimal digits, or a part that is not UTF-8: percent-encode user, password and database"
    )]
    Escape,
    /// A parameter that nobody reads.
    #[error("it has a parameter that is not known; known are {PARAMETERS}")]
    Parameter,
    /// A parameter twice.
    #[error("it has a parameter twice: remove one of the two")]
    Repeated,
    /// No TLS to another machine.
    #[error(
        "it says sslmode=disable, and a host is not on this machine (127.0.0.1, ::1, localhost): passwords and keys would pass the network in the clear; use sslmode=verify-full"
    )]
    NoTls,
    /// TLS whenever it pleases the one in between.
    #[error(
        "it says sslmode=allow or sslmode=prefer, which whoever is in between turns off: use sslmode=verify-full, which is the default"
    )]
    MaybeTls,
    /// TLS with anybody.
    #[error(
        "it says sslmode=require, which would accept any server: use sslmode=verify-full, and name the CA in tls_ca_file"
    )]
    AnyServer,
    /// TLS with anybody whom the CA knows.
    #[error(
        "it says sslmode=verify-ca, which would accept any server of that CA: use sslmode=verify-full; if the certificate has another name than the host, give that name in tls_server_name"
    )]
    AnyName,
    /// A mode that does not exist.
    #[error("its sslmode is not known: use verify-full, which is the default")]
    Mode,
    /// Standbys.
    #[error(
        "its target_session_attrs must be read-write: a standby can neither be written nor prove anything"
    )]
    Target,
    /// Not one of three words.
    #[error("its channel_binding must be disable, prefer or require")]
    Binding,
    /// Out of range.
    #[error("its connect_timeout must be a whole number of seconds from 1 to 60")]
    Timeout,
}

impl PostgresqlUrlError {
    /// The class of the error: always the caller's.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

impl PostgresqlUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// See [`PostgresqlUrlError`].
    pub fn parse(text: &SecretString) -> Result<Self, PostgresqlUrlError> {
        let text = text.expose().trim();
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or(PostgresqlUrlError::NotUrl)?;
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').ok_or(PostgresqlUrlError::NoUser)?;
        let (user, password) = login.split_once(':').map_or((login, None), |(user, p)| (user, Some(p)));
        let user = decoded_text(user)?;
        if user.is_empty() {
            return Err(PostgresqlUrlError::NoUser);
        }
        let password = password.filter(|text| !text.is_empty()).map(decoded).transpose()?;
        let database = Some(decoded_text(database)?).filter(|name| !name.is_empty());
        let mut url = Self {
            hosts: read_hosts(hosts)?,
            database: database.unwrap_or_else(|| user.clone()),
            user,
            password: password.map(SecretBytes::new),
            has_tls: true,
            ca_file: None,
            cert_file: None,
            key_file: None,
            channel_binding: ChannelBinding::default(),
            connect_timeout: None,
        };
        url.read_parameters(query)?;
        if !url.has_tls && !url.hosts.iter().all(PostgresqlHost::is_loopback) {
            return Err(PostgresqlUrlError::NoTls);
        }
        Ok(url)
    }

    fn read_parameters(&mut self, query: &str) -> Result<(), PostgresqlUrlError> {
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(PostgresqlUrlError::Parameter)?;
            let value = decoded_text(value)?;
            match name {
                "sslmode" => self.has_tls = read_mode(&value)?,
                "sslrootcert" => self.ca_file = Some(PathBuf::from(value)),
                "sslcert" => self.cert_file = Some(PathBuf::from(value)),
                "sslkey" => self.key_file = Some(PathBuf::from(value)),
                "channel_binding" => {
                    self.channel_binding = match value.as_str() {
                        "disable" => ChannelBinding::Disable,
                        "prefer" => ChannelBinding::Prefer,
                        "require" => ChannelBinding::Require,
                        _ => return Err(PostgresqlUrlError::Binding),
                    };
                }
                "connect_timeout" => {
                    let seconds = value.parse().ok().filter(|seconds| (1..=60).contains(seconds));
                    let seconds = seconds.ok_or(PostgresqlUrlError::Timeout)?;
                    self.connect_timeout = Some(Duration::from_secs(seconds));
                }
                "target_session_attrs" if matches!(value.as_str(), "read-write" | "primary") => {}
                "target_session_attrs" => return Err(PostgresqlUrlError::Target),
                _ => return Err(PostgresqlUrlError::Parameter),
            }
            if seen.contains(&name) {
                return Err(PostgresqlUrlError::Repeated);
            }
            seen.push(name);
        }
        Ok(())
    }
}

/// Whether a mode speaks TLS.
fn read_mode(mode: &str) -> Result<bool, PostgresqlUrlError> {
    match mode {
        "verify-full" => Ok(true),
        "disable" => Ok(false),
        "allow" | "prefer" => Err(PostgresqlUrlError::MaybeTls),
        "require" => Err(PostgresqlUrlError::AnyServer),
        "verify-ca" => Err(PostgresqlUrlError::AnyName),
        _ => Err(PostgresqlUrlError::Mode),
    }
}

fn read_hosts(text: &str) -> Result<Vec<PostgresqlHost>, PostgresqlUrlError> {
    let hosts: Vec<_> = text.split(',').map(read_host).collect::<Result<_, _>>()?;
    if hosts.len() > HOSTS { Err(PostgresqlUrlError::Host) } else { Ok(hosts) }
}

fn read_host(text: &str) -> Result<PostgresqlHost, PostgresqlUrlError> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or(PostgresqlUrlError::Host)?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')) };
            (name, port.map(|port| port.ok_or(PostgresqlUrlError::Host)).transpose()?)
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    if name.starts_with("%2F") || name.starts_with("%2f") {
        return Err(PostgresqlUrlError::Socket);
    }
    let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':');
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(PostgresqlUrlError::Host);
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(PostgresqlUrlError::Port)?,
        None => PORT,
    };
    Ok(PostgresqlHost { name: name.to_owned(), port })
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Result<Vec<u8>, PostgresqlUrlError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |c: Option<u8>| c.and_then(|c| char::from(c).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (digit(bytes.next()), digit(bytes.next()));
            out.push(high.ok_or(PostgresqlUrlError::Escape)? << 4 | low.ok_or(PostgresqlUrlError::Escape)?);
        } else {
            out.push(byte);
        }
    }
    Ok(out)
}

fn decoded_text(text: &str) -> Result<String, PostgresqlUrlError> {
    let text = String::from_utf8(decoded(text)?).map_err(|_| PostgresqlUrlError::Escape)?;
    if text.contains('\0') { Err(PostgresqlUrlError::Escape) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PostgresqlUrl, PostgresqlUrlError> {
        PostgresqlUrl::parse(&text.into())
    }

    fn hosts(url: &PostgresqlUrl) -> Vec<(&str, u16)> {
        url.hosts.iter().map(|host| (host.name.as_str(), host.port)).collect()
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url = parse(
            "postgresql://vault%40x:p%3Ass%2F@db-1,[fd00::1]:5433,10.0.0.3:6000/s%20p?sslrootcert=%2Fca.pem&connect_timeout=3&channel_binding=require&target_session_attrs=read-write",
        )
        .unwrap();
        assert_eq!(hosts(&url), [("db-1", 5432), ("fd00::1", 5433), ("10.0.0.3", 6000)]);
        assert_eq!((url.user.as_str(), url.database.as_str()), ("vault@x", "s p"));
        assert_eq!(url.password.as_ref().unwrap().expose(), b"p:ss/");
        assert!(url.has_tls);
        assert_eq!(url.ca_file, Some("/ca.pem".into()));
        assert_eq!(url.channel_binding, ChannelBinding::Require);
        assert_eq!(url.connect_timeout, Some(Duration::from_secs(3)));
        assert!(!format!("{url:?}").contains("p:ss"));
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let url = parse("postgres://vault@db").unwrap();
        assert_eq!((url.database.as_str(), url.password.is_none(), url.has_tls), ("vault", true, true));
        // The last @ ends the log-in.
        let url = parse("postgres://vault:a@b@db/x").unwrap();
        assert_eq!(url.password.as_ref().unwrap().expose(), b"a@b");
    }

    #[test]
    fn no_tls_only_on_this_machine() {
        for host in ["127.0.0.1:5432", "localhost", "[::1]:1", "127.8.0.1,localhost"] {
            assert!(!parse(&format!("postgres://u@{host}/d?sslmode=disable")).unwrap().has_tls, "{host}");
        }
        for host in ["10.0.0.1", "db", "localhost,db", "localhost.example.com"] {
            let found = parse(&format!("postgres://u@{host}/d?sslmode=disable"));
            assert_eq!(found, Err(PostgresqlUrlError::NoTls), "{host}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_text() {
        use PostgresqlUrlError as E;
        let cases = [
            ("host=db user=hunter2", E::NotUrl),
            ("mysql://hunter2@db/", E::NotUrl),
            ("postgres://db/hunter2", E::NoUser),
            ("postgres://:hunter2@db/", E::NoUser),
            ("postgres://u:hun/ter2@db/", E::NoUser),
            ("postgres://u@/hunter2", E::Host),
            ("postgres://u@a,,b/hunter2", E::Host),
            ("postgres://u@[::1/hunter2", E::Host),
            ("postgres://u@%2Fhunter2/x", E::Socket),
            ("postgres://u@db:hunter2/x", E::Port),
            ("postgres://u@db:0/x", E::Port),
            ("postgres://u:hunter2%zz@db/x", E::Escape),
            ("postgres://u%ff@hunter2/x", E::Escape),
            ("postgres://u@db/x?hunter2=1", E::Parameter),
            ("postgres://u@db/x?sslmode=verify-full&sslmode=verify-full", E::Repeated),
            ("postgres://u@db/x?sslmode=prefer", E::MaybeTls),
            ("postgres://u@db/x?sslmode=require", E::AnyServer),
            ("postgres://u@db/x?sslmode=verify-ca", E::AnyName),
            ("postgres://u@db/x?sslmode=hunter2", E::Mode),
            ("postgres://u@db/x?target_session_attrs=any", E::Target),
            ("postgres://u@db/x?channel_binding=hunter2", E::Binding),
            ("postgres://u@db/x?connect_timeout=0", E::Timeout),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let many = format!("postgres://u@{}/", vec!["h"; 17].join(","));
        assert_eq!(parse(&many), Err(E::Host));
    }
}
