//! Calls to a cluster: one connection at a time to one of its members, and another member when that one fails. Commits go
//! to the same member on a line of their own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use prost::Message;
use tokio::time::timeout;
use tonic::Streaming;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};

use super::address::Address;
use super::answer::{Answer, Failure, NAMELESS, Trouble};
use super::attend::attended;
use super::connect::Connection;
use super::dial::{dial, dial_apart};
use super::line::{Extras, Line};
use super::proto::{
    AUTHENTICATE, AuthenticateRequest, AuthenticateResponse, WATCH, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use crate::base::secret::SecretString;
use crate::config::{ClientTls, Credential, CredentialError, EtcdStorage};
use crate::vault::physical::unusable::Unusable;

/// Before a read is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// A cluster.
pub(super) struct Client {
    addresses: Vec<Address>,
    tls: ClientTls,
    login: Option<(Credential, Credential)>,
    limit: Duration,
    slot: Mutex<Slot>,
    /// One connecting at a time.
    dialing: tokio::sync::Mutex<()>,
    pass: Mutex<Option<Pass>>,
    /// One login at a time.
    entering: tokio::sync::Mutex<()>,
}

/// The line that a message takes.
#[derive(Clone, Copy)]
pub(super) enum Via {
    /// That of everything but commits.
    Shared,
    /// That of commits alone: nothing else is in its way.
    Commits,
}

/// The connection in use, and where to go when it fails.
#[derive(Default)]
struct Slot {
    current: Option<Arc<Connection>>,
    next: usize,
    /// What was left last; it is tried after all others.
    avoid: Option<SocketAddr>,
}

/// What a login gave; nothing where the cluster asks for none.
#[derive(Clone, Default)]
pub(super) struct Pass(Option<Arc<AsciiMetadataValue>>);

impl Pass {
    fn token(&self) -> Option<&AsciiMetadataValue> {
        self.0.as_deref()
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    pub(super) fn new(config: &EtcdStorage) -> Result<Self, Unusable> {
        let bad = |text: &String| Unusable::Setting {
            key: "address",
            reason: format!("{text:?} is no URL such as https://etcd-0.etcd:2379"),
        };
        let addresses: Vec<Address> = config
            .addresses
            .iter()
            .map(|text| Address::parse(text).ok_or_else(|| bad(text)))
            .collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            let reason = "name at least one member, for example https://etcd-0.etcd:2379".to_owned();
            return Err(Unusable::Setting { key: "address", reason });
        }
        Ok(Self {
            addresses,
            tls: config.tls.clone(),
            login: config.username.clone().zip(config.password.clone()),
            limit: config.request_timeout,
            slot: Mutex::default(),
            dialing: tokio::sync::Mutex::default(),
            pass: Mutex::default(),
            entering: tokio::sync::Mutex::default(),
        })
    }

    /// All addresses, for messages.
    pub(super) fn addresses(&self) -> String {
        self.addresses.iter().map(|address| address.text.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Sends a message that may be carried out twice, to one member after the other, until one answers.
    pub(super) async fn read<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut last = None;
        let asking = async {
            loop {
                match self.once(Via::Shared, path, &message).await {
                    Err(failure) if failure.is_passing() && !self.is_nobody(&failure) => last = Some(failure),
                    ended => return ended,
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        match timeout(self.limit, asking).await {
            Ok(ended) => ended,
            Err(_) => {
                let late = self.late();
                Err(last.unwrap_or(late))
            }
        }
    }

    /// Sends a message once. (It is sent again after a new login, if the member did not look at it for want of one.)
    pub(super) async fn write<Q, A>(&self, via: Via, path: &'static str, message: &Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        match timeout(self.limit, self.once(via, path, message)).await {
            Ok(ended) => ended,
            Err(_) => Err(self.late()),
        }
    }

    /// Whether a member wants to know who asks, and this node has neither a login nor a name in its certificate: asking
    /// again does not help.
    fn is_nobody(&self, failure: &Failure) -> bool {
        let is_nameless =
            matches!(failure, Failure::Answered { answer: Answer::LoggedOut(said), .. } if said == NAMELESS);
        is_nameless && self.login.is_none()
    }

    /// Nothing was heard within the limit: the next call goes elsewhere.
    fn late(&self) -> Failure {
        let current = locked(&self.slot).current.clone();
        if let Some(connection) = &current {
            self.leave(connection);
        }
        let address = current.map_or_else(|| self.addresses(), |connection| connection.address.clone());
        Failure::Lost { address, reason: format!("no answer within {} s", self.limit.as_secs_f64()) }
    }

    async fn once<Q, A>(&self, via: Via, path: &'static str, message: &Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        match self.attempt(via, path, message.clone()).await {
            Err(Failure::Answered { answer: Answer::LoggedOut(_), .. }) if self.login.is_some() => {
                self.attempt(via, path, message.clone()).await
            }
            ended => ended,
        }
    }

    async fn attempt<Q, A>(&self, via: Via, path: &'static str, message: Q) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (connection, pass) = self.enter().await?;
        let extras = Extras { token: pass.token(), needs_leader: true };
        let sent = async {
            let line = match via {
                Via::Shared => &connection.line,
                Via::Commits => self.line_for_commits(&connection, &pass).await?,
            };
            attended(&connection, line, pass.token(), async {
                let sent = line.unary(path, message, extras).await;
                sent.map_err(|status| Failure::of(&connection.address, &status))
            })
            .await
        };
        self.learn(&connection, &pass, sent.await)
    }

    /// The line of `connection` for commits, opened if there is none yet.
    async fn line_for_commits<'c>(
        &self,
        connection: &'c Connection,
        pass: &Pass,
    ) -> Result<&'c Line, Failure> {
        let address = &self.addresses[connection.index];
        let opening = connection.commits.get_or_try_init(|| {
            attended(connection, &connection.line, pass.token(), async {
                dial_apart(address, connection.peer, &self.tls).await.map_err(Failure::NotSent)
            })
        });
        opening.await
    }

    /// A connection, and the login for it.
    pub(super) async fn enter(&self) -> Result<(Arc<Connection>, Pass), Failure> {
        let connection = self.connection().await.map_err(Failure::NotSent)?;
        let pass = self.log_in(&connection).await?;
        Ok((connection, pass))
    }

    /// Draws conclusions for the next call.
    fn learn<A>(
        &self,
        connection: &Arc<Connection>,
        pass: &Pass,
        sent: Result<A, Failure>,
    ) -> Result<A, Failure> {
        match &sent {
            Err(
                Failure::NotSent(Trouble::Away(_))
                | Failure::Lost { .. }
                | Failure::Answered { answer: Answer::Elsewhere(_), .. },
            ) => self.leave(connection),
            Err(Failure::Answered { answer: Answer::LoggedOut(_), .. }) => {
                let mut known = locked(&self.pass);
                if known.as_ref().is_some_and(|known| known.is(pass)) {
                    *known = None;
                }
            }
            Ok(_) | Err(_) => {}
        }
        sent
    }

    fn current(&self) -> Option<Arc<Connection>> {
        let current = locked(&self.slot).current.clone()?;
        if current.is_closed() {
            self.leave(&current);
            return None;
        }
        Some(current)
    }

    async fn connection(&self) -> Result<Arc<Connection>, Trouble> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let _turn = self.dialing.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let pass = locked(&self.pass).clone().unwrap_or_default();
        let (first, avoid) = {
            let slot = locked(&self.slot);
            (slot.next, slot.avoid)
        };
        let dialed = dial(&self.addresses, first, avoid, &self.tls, pass.token()).await?;
        let connection = Arc::new(dialed);
        tracing::debug!(address = connection.address, "connected to etcd");
        let mut slot = locked(&self.slot);
        slot.next = connection.index;
        slot.current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Gives a connection up; the next call tries the next member first.
    pub(super) fn leave(&self, connection: &Arc<Connection>) {
        connection.left.cancel();
        let mut slot = locked(&self.slot);
        if slot.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            slot.current = None;
            slot.next = (connection.index + 1) % self.addresses.len();
            slot.avoid = Some(connection.peer);
        }
    }

    /// The login that is known, or a new one with the password as it is now.
    async fn log_in(&self, connection: &Arc<Connection>) -> Result<Pass, Failure> {
        let Some((name, password)) = &self.login else { return Ok(Pass::default()) };
        let known = || locked(&self.pass).clone();
        if let Some(pass) = known() {
            return Ok(pass);
        }
        let _turn = self.entering.lock().await;
        if let Some(pass) = known() {
            return Ok(pass);
        }
        let (name, password) = (read("username", name).await?, read("password", password).await?);
        let message =
            AuthenticateRequest { name: name.expose().to_owned(), password: password.expose().to_owned() };
        let none = Pass::default();
        let call = async {
            let sent = connection.line.unary(AUTHENTICATE, message, Extras::default()).await;
            sent.map_err(|status| Failure::of(&connection.address, &status))
        };
        let sent = attended(connection, &connection.line, none.token(), call).await;
        let pass = match self.learn::<AuthenticateResponse>(connection, &none, sent) {
            Ok(answer) => {
                let mut token: AsciiMetadataValue =
                    MetadataValue::try_from(answer.token.as_str()).map_err(|_| Failure::Lost {
                        address: connection.address.clone(),
                        reason: "the login gave a token that cannot be sent back".to_owned(),
                    })?;
                token.set_sensitive(true);
                Pass(Some(Arc::new(token)))
            }
            Err(Failure::Answered { answer: Answer::NoLogins, address }) => {
                tracing::warn!(address, "etcd lets everybody in: authentication is not enabled there");
                none
            }
            Err(failure) => return Err(failure),
        };
        *locked(&self.pass) = Some(pass.clone());
        Ok(pass)
    }

    /// Begins to watch `key`.
    pub(super) async fn watch(
        &self,
        key: Bytes,
    ) -> Result<(Arc<Connection>, Streaming<WatchResponse>), Failure> {
        let (connection, pass) = self.enter().await?;
        let create = WatchRequest { create: Some(WatchCreateRequest { key }) };
        let messages = stream::iter([create]).chain(stream::pending());
        let extras = Extras { token: pass.token(), needs_leader: true };
        let opening = async {
            let opened =
                connection.line.streaming::<WatchRequest, WatchResponse>(WATCH, messages, extras).await;
            opened.map_err(|status| Failure::of(&connection.address, &status))
        };
        let attended = attended(&connection, &connection.line, pass.token(), opening);
        let opened = match timeout(self.limit, attended).await {
            Ok(opened) => opened,
            Err(_) => Err(Failure::Lost {
                address: connection.address.clone(),
                reason: "a watch was not opened in time".to_owned(),
            }),
        };
        let events = self.learn(&connection, &pass, opened)?;
        Ok((connection, events))
    }
}

/// A part of the login as it is now; `key` is the setting that says where it is.
async fn read(key: &'static str, credential: &Credential) -> Result<SecretString, Failure> {
    let unreadable = |error: CredentialError| Unusable::File { key, path: error.path, reason: error.reason };
    credential.read().await.map_err(|error| Failure::NotSent(Trouble::Unusable(unreadable(error))))
}
