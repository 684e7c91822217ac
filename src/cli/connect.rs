//! From flags and environment to a client.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::Connection;
use super::failure::Failure;
use super::output::Format;
use super::token_file;
use crate::api::client::{Client, ClientConfig, Trust};
use crate::base::duration;
use crate::base::secret::SecretString;
use crate::config::{Environment, env};

/// Where the server is if nobody says.
const DEFAULT_ADDRESS: &str = "https://127.0.0.1:8200";

/// What a client command works with.
pub(super) struct Session {
    /// The client, with the token.
    pub(super) client: Client,
    /// How answers are shown.
    pub(super) format: Format,
    /// Where the token is stored; `None` without a home.
    pub(super) token_file: Option<PathBuf>,
    config: ClientConfig,
}

impl Session {
    /// A session by flags, then environment, then defaults.
    pub(super) fn new(flags: &Connection, environment: &Environment) -> Result<Self, Failure> {
        let token_file = environment.get(env::HOME).map(|home| Path::new(&home).join(".vault-token"));
        let stored = || token_file.as_deref().and_then(token_file::read);
        let mut config = ClientConfig::new(
            flags
                .address
                .clone()
                .or_else(|| environment.get(env::VAULT_ADDR))
                .unwrap_or_else(|| DEFAULT_ADDRESS.to_owned()),
        );
        config.token = environment.get(env::VAULT_TOKEN).map(SecretString::new).or_else(stored);
        config.namespace = flags.namespace.clone().or_else(|| environment.get(env::VAULT_NAMESPACE));
        config.server_name =
            flags.tls_server_name.clone().or_else(|| environment.get(env::VAULT_TLS_SERVER_NAME));
        config.trust = trust(flags, environment)?;
        if let Some(text) = environment.get(env::VAULT_CLIENT_TIMEOUT) {
            config.timeout =
                duration::parse(&text).filter(|limit| *limit > Duration::ZERO).ok_or_else(|| {
                    wrong(env::VAULT_CLIENT_TIMEOUT, &text, "seconds or a duration such as 30s")
                })?;
        }
        if let Some(text) = environment.get(env::VAULT_MAX_RETRIES) {
            config.max_retries = text
                .parse()
                .ok()
                .filter(|retries| *retries <= 100)
                .ok_or_else(|| wrong(env::VAULT_MAX_RETRIES, &text, "a number from 0 to 100"))?;
        }
        let format = flags.format.clone().or_else(|| environment.get(env::VAULT_FORMAT));
        let format = match format.as_deref() {
            None | Some("table") => Format::Table,
            Some("json") => Format::Json,
            Some(other) => {
                return Err(Failure::local(format!("unknown format {other:?}: use table or json")));
            }
        };
        let client = client(&config)?;
        Ok(Self { client, format, token_file, config })
    }

    /// A client with another token.
    pub(super) fn client_with_token(&self, token: SecretString) -> Result<Client, Failure> {
        client(&ClientConfig { token: Some(token), ..self.config.clone() })
    }
}

fn client(config: &ClientConfig) -> Result<Client, Failure> {
    Client::new(config.clone()).map_err(|e| Failure::call("making the client", &e))
}

fn wrong(variable: env::Variable, text: &str, expected: &str) -> Failure {
    Failure::local(format!("environment variable {} is {text:?}, expected {expected}", variable.name))
}

fn trust(flags: &Connection, environment: &Environment) -> Result<Trust, Failure> {
    let skip = environment.get(env::VAULT_SKIP_VERIFY);
    let skip = match skip.as_deref() {
        None | Some("0" | "false" | "f" | "F" | "FALSE" | "False") => flags.tls_skip_verify,
        Some("1" | "true" | "t" | "T" | "TRUE" | "True") => true,
        Some(other) => return Err(wrong(env::VAULT_SKIP_VERIFY, other, "true or false")),
    };
    if skip {
        return Ok(Trust::Anybody);
    }
    let path = |flag: &Option<PathBuf>, variable| {
        flag.clone().or_else(|| environment.get(variable).map(PathBuf::from))
    };
    if let Some(file) = path(&flags.ca_cert, env::VAULT_CACERT) {
        return Ok(Trust::Files(vec![file]));
    }
    if let Some(folder) = path(&flags.ca_path, env::VAULT_CAPATH) {
        return files_in(&folder).map(Trust::Files);
    }
    Ok(Trust::System { file: environment.get(env::SSL_CERT_FILE).map(PathBuf::from) })
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |e: std::io::Error| Failure::local(format!("CA folder {}: {e}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
