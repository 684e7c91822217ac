//! Opens a store: one bounded first contact that tells what waiting cannot mend.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::backend::ZookeeperBackend;
use super::client::Failure;
use super::config::{HEADER_BYTES, REQUEST_BYTES, Settings};
use super::init::Unprepared;
use super::proto::{self, Code, Found, Question, opcode};
use super::register::ZookeeperRegister;
use super::state::State;
use super::stream::{self, Refusal};
use crate::config::{ClientTls, ZookeeperServer, ZookeeperStorage};
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::tls::last_words;
use crate::vault::physical::unusable::Unusable;

/// How long the first contact may take.
const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// How long a server may take to say which version it is.
const GREETING: Duration = Duration::from_secs(1);
/// Most bytes of that.
const GREETING_BYTES: u64 = 4096;
/// How often a connection must be cut at a large request, while what is small passes.
const LARGE: usize = 2;
/// How long a server may take for a large request before nothing is concluded. A connection on which nothing arrives ends
/// later by itself, which is no cut.
const LARGE_ANSWER: Duration = Duration::from_secs(1);
/// The oldest version with reads of several nodes of one state.
const LEAST: &str = "3.6.0";

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Data and lock.
    All,
    /// The lock, whose requests are small.
    Lock,
}

/// Storage and lock as `config` says.
///
/// # Errors
/// What waiting does not help against. A storage that is away is only logged: it is tried again whenever it is needed.
pub async fn open(config: &ZookeeperStorage) -> Result<(ZookeeperBackend, ZookeeperRegister), Unusable> {
    let (state, settings) = opened(config, Needs::All).await?;
    Ok((ZookeeperBackend(state), ZookeeperRegister::new(settings)))
}

/// The lock alone.
///
/// # Errors
/// As [`open`], but the servers need not take large requests.
pub async fn open_lock(config: &ZookeeperStorage) -> Result<ZookeeperRegister, Unusable> {
    let (_, settings) = opened(config, Needs::Lock).await?;
    Ok(ZookeeperRegister::new(settings))
}

async fn opened(config: &ZookeeperStorage, needs: Needs) -> Result<(Arc<State>, Arc<Settings>), Unusable> {
    let settings = Arc::new(Settings::new(config));
    if settings.is_open_to_anyone() {
        tracing::warn!(
            path = settings.layout.root(),
            "whoever reaches ZooKeeper may change and delete the vault's data: set auth_info or znode_owner"
        );
    }
    let state = Arc::new(State::new(Arc::clone(&settings)));
    let away = match timeout(FIRST_CONTACT, contact(&state, needs)).await {
        Ok(Ok(())) => None,
        Ok(Err(Trouble::Unusable(unusable))) => return Err(unusable),
        Ok(Err(Trouble::Away(reason))) => Some(reason),
        Err(_) => Some(format!("no answer within {} s", FIRST_CONTACT.as_secs())),
    };
    if let Some(reason) = away {
        let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        tracing::warn!(servers = servers.join(","), %reason, "ZooKeeper is away; it is tried again");
    }
    Ok((state, settings))
}

/// Why the first contact failed.
enum Trouble {
    /// Waiting may help.
    Away(String),
    /// It does not.
    Unusable(Unusable),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Away(failure.into_error().to_string())
    }
}

async fn contact(state: &State, needs: Needs) -> Result<(), Trouble> {
    let server = match state.client.connect().await {
        Ok(connection) => connection.server().clone(),
        Err(refusals) => return Err(judge(state.client.settings(), refusals).await),
    };
    let question = Question::Data(state.layout().current());
    let reply = state.client.ask((opcode::MULTI_READ, proto::multi_read(&[question]))).await?;
    if reply.code == Code::UNIMPLEMENTED {
        let found = version(&server).await.unwrap_or_else(|| "3.5 or older".to_owned());
        return Err(Trouble::Unusable(Unusable::TooOld { address: server.to_string(), found, least: LEAST }));
    }
    let forbidden = |what: String, code: Code| {
        let reason = format!("{code}; {}", state.client.settings().needed_acl());
        Trouble::Unusable(Unusable::Forbidden { address: server.to_string(), what, reason })
    };
    if let Ok(found) = proto::found(reply.body)
        && found.first() == Some(&Found::Failed(Code::NO_AUTH))
    {
        return Err(forbidden(format!("reading {}", state.layout().current()), Code::NO_AUTH));
    }
    match state.prepare().await {
        Ok(()) => {}
        Err(Unprepared::Failed(failure)) => return Err(failure.into()),
        Err(Unprepared::Refused { path, code: Code::NO_AUTH }) => {
            return Err(forbidden(format!("creating {path}"), Code::NO_AUTH));
        }
        Err(Unprepared::Refused { code: Code::INVALID_ACL, .. }) => {
            return Err(Trouble::Unusable(invalid_owner(state.client.settings())));
        }
        Err(Unprepared::Refused { path, code }) => return Err(Trouble::Away(format!("{path}: {code}"))),
    }
    match state.read_proven(&[]).await {
        Ok(_) => {}
        Err(StorageError::Denied { .. }) => {
            return Err(forbidden(format!("writing {}", state.layout().check()), Code::NO_AUTH));
        }
        Err(error) => return Err(Trouble::Away(error.to_string())),
    }
    if needs == Needs::All { takes_large_requests(state).await } else { Ok(()) }
}

/// Fails if servers cut the connection of whoever sends as much as a commit may have, because of a `jute.maxbuffer` below
/// its default: every large commit would look like a lost answer there, and be sent again for ever.
async fn takes_large_requests(state: &State) -> Result<(), Trouble> {
    // A server that goes away at this moment does not answer what is small either.
    let small = || state.client.ask((opcode::EXISTS, proto::look(state.layout().root(), false)));
    let mut server = None;
    for _ in 0..LARGE {
        small().await?;
        match cuts_large_requests(state).await? {
            None => return Ok(()),
            cutting => server = cutting,
        }
    }
    small().await?;
    let Some(server) = server else { return Ok(()) };
    let reason = format!(
        "{server} cuts the connection at a request of {REQUEST_BYTES} bytes, which a large commit may have: set jute.maxbuffer of its servers to {REQUEST_BYTES} or more, or leave it out"
    );
    Err(Trouble::Unusable(Unusable::Setting { key: "address", reason }))
}

/// The server that cut the connection at the largest request that is ever sent. It asks for a node that cannot be there, so
/// it changes nothing. No answer in time says nothing: the way may be slow.
async fn cuts_large_requests(state: &State) -> Result<Option<ZookeeperServer>, Trouble> {
    let away = |refusals: Vec<Refusal>| {
        let reasons: Vec<String> = refusals.into_iter().map(Refusal::into_reason).collect();
        Trouble::Away(reasons.join("; "))
    };
    let connection = state.client.connect().await.map_err(away)?;
    let asked = async { connection.send(opcode::EXISTS, largest_request(state)).await?.answer().await };
    let is_cut = matches!(timeout(LARGE_ANSWER, asked).await, Ok(Err(_)));
    Ok(is_cut.then(|| connection.server().clone()))
}

fn largest_request(state: &State) -> Vec<u8> {
    let nowhere = state.layout().named("");
    let around = proto::look(&nowhere, false).len() + HEADER_BYTES;
    proto::look(&format!("{nowhere}{}", "-".repeat(REQUEST_BYTES.saturating_sub(around))), false)
}

fn invalid_owner(settings: &Settings) -> Unusable {
    let owner = &settings.owner;
    if owner.scheme == "auth" {
        let reason = "the server takes no identity from it: use digest:user:password, or name the owner in znode_owner";
        return Unusable::Setting { key: "auth_info", reason: reason.to_owned() };
    }
    let reason = format!(
        "the server does not accept {owner} as the owner of a node: use scheme:id with a scheme that it knows, such as digest:user:hash or x509:CN=name"
    );
    Unusable::Setting { key: "znode_owner", reason }
}

/// What it means that no server gave a session.
async fn judge(settings: &Settings, refusals: Vec<Refusal>) -> Trouble {
    let mut reasons = Vec::new();
    for refusal in refusals {
        match refusal {
            Refusal::Unusable(unusable) => return Trouble::Unusable(unusable),
            Refusal::Away(reason) => reasons.push(reason),
        }
    }
    // A server that expects TLS, or does not, cuts the connection just as one does that is away.
    for server in settings.servers.iter().take(1) {
        if let Some(unusable) = objection(settings, server).await {
            return Trouble::Unusable(unusable);
        }
        let (expected, reason) = if settings.tls.is_some() {
            ("ZooKeeper over TLS", "it speaks ZooKeeper without TLS")
        } else {
            ("ZooKeeper without TLS", "it speaks TLS: set tls_enabled = true")
        };
        let is_wrong = match &settings.tls {
            Some(_) => greeting(server).await.is_some_and(|text| is_greeting(&text)),
            None => speaks_tls(settings, server).await,
        };
        if is_wrong {
            let (address, reason) = (server.to_string(), reason.to_owned());
            return Trouble::Unusable(Unusable::WrongService { address, expected, reason });
        }
    }
    Trouble::Away(reasons.join("; "))
}

/// What a server has against this node's certificate, if it says so to who only listens.
async fn objection(settings: &Settings, server: &ZookeeperServer) -> Option<Unusable> {
    settings.tls.as_ref()?;
    match last_words(stream::open(settings, server), |error| stream::meaning(server, error)).await? {
        Refusal::Unusable(unusable) => Some(unusable),
        Refusal::Away(_) => None,
    }
}

/// Whether a server takes part in a TLS handshake, even if that ends with a certificate which is not trusted.
async fn speaks_tls(settings: &Settings, server: &ZookeeperServer) -> bool {
    let settings = Settings { tls: Some(ClientTls::default()), ..settings.clone() };
    match timeout(GREETING, stream::open(&settings, server)).await {
        Ok(Ok(_)) => true,
        Ok(Err(Refusal::Unusable(unusable))) => {
            matches!(unusable, Unusable::Untrusted { .. } | Unusable::Refused { .. })
        }
        Ok(Err(Refusal::Away(_))) | Err(_) => false,
    }
}

fn is_greeting(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    ["Zookeeper version", "This ZooKeeper instance", "srvr is not executed"]
        .iter()
        .any(|known| first.starts_with(known))
}

/// The version that a server says it is, if it may say so.
async fn version(server: &ZookeeperServer) -> Option<String> {
    let text = greeting(server).await?;
    let rest = text.strip_prefix("Zookeeper version: ")?;
    let end = rest.find(['-', ',', ' ', '\n']).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

/// What a server answers to `srvr` in the clear.
async fn greeting(server: &ZookeeperServer) -> Option<String> {
    let asked = async {
        let mut stream = stream::tcp(server).await.ok()?;
        stream.write_all(b"srvr").await.ok()?;
        let mut bytes = Vec::new();
        stream.take(GREETING_BYTES).read_to_end(&mut bytes).await.ok()?;
        String::from_utf8(bytes).ok()
    };
    timeout(GREETING, asked).await.ok()?
}
