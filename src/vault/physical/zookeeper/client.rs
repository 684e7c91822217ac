//! A client of the ensemble: one session at a time, with the server that answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use super::config::{HEADER_BYTES, KIND, REQUEST_BYTES, Settings};
use super::connection::{Connection, Lost, Reply};
use super::stream::Refusal;
use crate::base::backoff::Backoff;
use crate::base::random::{Random, SystemRandom};
use crate::config::ZookeeperServer;
use crate::vault::physical::backend::StorageError;

/// How long the way to a session with one server may take; a healthy one needs some milliseconds.
const CONNECT: Duration = Duration::from_secs(1);
/// Delays before all servers are tried again after none of them gave a session.
const FIRST_DELAY: Duration = Duration::from_millis(20);
const MOST_DELAY: Duration = Duration::from_millis(500);
/// How old a session must be to be replaced because this node's identity is refused.
const LOGIN: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was sent.
    Away(String),
    /// It was sent, and may be executed.
    Lost(String),
    /// It is larger than a server reads, so it was not sent.
    TooLarge(usize),
}

impl Failure {
    pub(super) fn into_error(self) -> StorageError {
        match self {
            Self::Away(reason) | Self::Lost(reason) => StorageError::Unavailable { storage: KIND, reason },
            Self::TooLarge(bytes) => too_large(bytes),
        }
    }
}

pub(super) fn too_large(bytes: usize) -> StorageError {
    StorageError::TooLarge { storage: KIND, what: "a request", bytes, limit_bytes: REQUEST_BYTES }
}

/// A request: its number and its body.
pub(super) type Request = (i32, Vec<u8>);

/// A client. Servers are taken in a random order, and one that failed is tried last.
pub(super) struct Client {
    settings: Arc<Settings>,
    slot: Mutex<Slot>,
    events: watch::Sender<()>,
}

struct Slot {
    connection: Option<Arc<Connection>>,
    order: Vec<ZookeeperServer>,
    /// Whether no server gave a session the last time.
    is_failing: bool,
    backoff: Backoff,
}

impl Client {
    /// A client that connects when it is first needed.
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let slot = Slot {
            connection: None,
            order: shuffled(&settings.servers, &SystemRandom),
            is_failing: false,
            backoff: Backoff::new(FIRST_DELAY, MOST_DELAY),
        };
        Self { settings, slot: Mutex::new(slot), events: watch::Sender::new(()) }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Wakes at every event of a watched node, and when a connection (and with it every watch) is lost.
    pub(super) fn events(&self) -> watch::Receiver<()> {
        self.events.subscribe()
    }

    /// A session with one of the servers.
    ///
    /// # Errors
    /// Why each of them gave none.
    pub(super) async fn connect(&self) -> Result<Arc<Connection>, Vec<Refusal>> {
        let mut slot = self.slot.lock().await;
        if let Some(connection) = slot.connection.take_if(|connection| !connection.is_alive()) {
            slot.put_last(connection.server());
        }
        if let Some(connection) = &slot.connection {
            return Ok(Arc::clone(connection));
        }
        if slot.is_failing {
            let delay = slot.backoff.next_delay(&SystemRandom);
            tokio::time::sleep(delay).await;
        }
        let mut refusals = Vec::new();
        for server in slot.order.clone() {
            let opened = Connection::open(&self.settings, &server, self.events.clone());
            let refusal = match timeout(CONNECT, opened).await {
                Ok(Ok(connection)) => {
                    let connection = Arc::new(connection);
                    slot.connection = Some(Arc::clone(&connection));
                    slot.is_failing = false;
                    slot.backoff.reset();
                    tracing::debug!(%server, "connected to ZooKeeper");
                    return Ok(connection);
                }
                Ok(Err(refusal)) => refusal,
                Err(_) => Refusal::Away(format!("{server}: no session within {} s", CONNECT.as_secs())),
            };
            tracing::debug!(%server, reason = %refusal.clone().into_reason(), "no session with ZooKeeper");
            slot.put_last(&server);
            refusals.push(refusal);
        }
        slot.is_failing = true;
        Err(refusals)
    }

    /// Sends one request and waits for its answer.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Failure> {
        let mut replies = self.ask_all(vec![request]).await?;
        replies.pop().ok_or_else(|| Failure::Lost("no answer".to_owned()))
    }

    /// Sends requests one behind the other in one session and waits for all answers. The server executes them in
    /// their order.
    pub(super) async fn ask_all(&self, requests: Vec<Request>) -> Result<Vec<Reply>, Failure> {
        if let Some(bytes) =
            requests.iter().map(|(_, body)| body.len() + HEADER_BYTES).find(|n| *n > REQUEST_BYTES)
        {
            return Err(Failure::TooLarge(bytes));
        }
        let limit = self.settings.request_timeout;
        let connection = match timeout(limit, self.connect()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(refusals)) => {
                let reasons: Vec<String> = refusals.into_iter().map(Refusal::into_reason).collect();
                return Err(Failure::Away(reasons.join("; ")));
            }
            Err(_) => return Err(Failure::Away(format!("no session within {} ms", limit.as_millis()))),
        };
        let asked = async {
            let mut promises = Vec::with_capacity(requests.len());
            for (opcode, body) in requests {
                promises.push(connection.send(opcode, body).await?);
            }
            let mut replies = Vec::with_capacity(promises.len());
            for promise in promises {
                replies.push(promise.answer().await?);
            }
            Ok(replies)
        };
        match timeout(limit, asked).await {
            Ok(Ok(replies)) => Ok(replies),
            Ok(Err(Lost(reason))) => Err(Failure::Lost(reason)),
            Err(_) => {
                let reason = format!("no answer within {} ms", limit.as_millis());
                connection.give_up(&reason);
                Err(Failure::Lost(format!("{}: {reason}", connection.server())))
            }
        }
    }

    /// Lets the next request begin a session with credentials as they lie in their files by then, because those of the
    /// present one were refused; false if the session is so young that they would be the same. So a node without rights
    /// does not log in all the time.
    pub(super) fn log_in_anew(&self) -> bool {
        let Ok(slot) = self.slot.try_lock() else { return false };
        let old = slot.connection.as_ref().filter(|connection| connection.age() >= LOGIN);
        if let Some(connection) = old {
            connection.give_up("this node's identity was refused");
        }
        old.is_some()
    }

    /// Like [`Client::ask_all`] for requests that may be executed twice: after a lost connection they are sent once more,
    /// through another server.
    pub(super) async fn ask_again(&self, requests: Vec<Request>) -> Result<Vec<Reply>, Failure> {
        match self.ask_all(requests.clone()).await {
            Err(Failure::Lost(_)) => self.ask_all(requests).await,
            other => other,
        }
    }
}

impl Slot {
    fn put_last(&mut self, server: &ZookeeperServer) {
        if let Some(at) = self.order.iter().position(|known| known == server) {
            let server = self.order.remove(at);
            self.order.push(server);
        }
    }
}

fn shuffled(servers: &[ZookeeperServer], random: &dyn Random) -> Vec<ZookeeperServer> {
    let mut order = servers.to_vec();
    for last in (1..order.len()).rev() {
        let bound = u64::try_from(last).unwrap_or(0) + 1;
        order.swap(last, usize::try_from(random.below(bound)).unwrap_or(0));
    }
    order
}
