//! Calls to a cluster: one connection at a time to one of its members, and another member when that one fails.
//!
//! A call that stays unanswered is looked after: the member is asked for its own status, which needs no other member. A
//! member that does not answer that either is left at once; one that does is busy or waits for its quorum.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use prost::Message;
use tokio::time::timeout;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::{Status, Streaming};

use super::answer::{Answer, Failure, Trouble};
use super::connect::{Address, Connection, Extras, Tls};
use super::proto::{
    AUTHENTICATE, AuthenticateRequest, AuthenticateResponse, WATCH, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use crate::config::{ClientTls, Credential, EtcdStorage};
use crate::vault::physical::tls::client_config;
use crate::vault::physical::unusable::Unusable;

/// How long a member may take to be connected to.
const CONNECT: Duration = Duration::from_secs(2);
/// A call that is older makes the client ask whether the member lives.
const DOUBT_AFTER: Duration = Duration::from_millis(500);
/// How long the member may take to say that it lives.
const LIFE_SIGN: Duration = Duration::from_millis(500);
/// Before a read is tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// Most places of one name that are tried.
const PLACES: usize = 8;

/// A cluster.
pub(super) struct Client {
    addresses: Vec<Address>,
    tls: ClientTls,
    login: Option<(String, Credential)>,
    limit: Duration,
    slot: Mutex<Slot>,
    /// One connecting at a time.
    dialing: tokio::sync::Mutex<()>,
    pass: Mutex<Option<Pass>>,
    /// One login at a time.
    entering: tokio::sync::Mutex<()>,
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
                match self.once(path, &message).await {
                    Err(failure) if failure.is_passing() => last = Some(failure),
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
    pub(super) async fn write<Q, A>(&self, path: &'static str, message: &Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        match timeout(self.limit, self.once(path, message)).await {
            Ok(ended) => ended,
            Err(_) => Err(self.late()),
        }
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

    async fn once<Q, A>(&self, path: &'static str, message: &Q) -> Result<A, Failure>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        match self.attempt(path, message.clone()).await {
            Err(Failure::Answered { answer: Answer::LoggedOut(_), .. }) if self.login.is_some() => {
                self.attempt(path, message.clone()).await
            }
            ended => ended,
        }
    }

    async fn attempt<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (connection, pass) = self.enter().await?;
        let extras = Extras { token: pass.token(), needs_leader: true };
        let sent = self.attended(&connection, &pass, connection.unary(path, message, extras)).await;
        self.learn(&connection, &pass, sent)
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
            Err(Failure::Lost { .. } | Failure::Answered { answer: Answer::Elsewhere(_), .. }) => {
                self.leave(connection);
            }
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

    /// Waits for `call` as long as the member shows that it lives.
    async fn attended<A>(
        &self,
        connection: &Connection,
        pass: &Pass,
        call: impl Future<Output = Result<A, Status>>,
    ) -> Result<A, Failure> {
        let mut call = pin!(call);
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return answer.map_err(|status| Failure::of(&connection.address, &status)),
                lives = lives(connection, pass) => if !lives {
                    let waited = (DOUBT_AFTER + LIFE_SIGN).as_secs_f64();
                    return Err(Failure::Lost {
                        address: connection.address.clone(),
                        reason: format!("it gave no sign of life for {waited} s"),
                    });
                },
            }
        }
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
        let connection = Arc::new(self.dial().await?);
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

    /// Connects to the first member that is there, with certificates as their files are now.
    async fn dial(&self) -> Result<Connection, Trouble> {
        let (first, avoid) = {
            let slot = locked(&self.slot);
            (slot.next, slot.avoid)
        };
        let tls = self.tls().await.map_err(Trouble::Unusable)?;
        let mut troubles = Troubles::default();
        let mut last = Vec::new();
        for offset in 0..self.addresses.len() {
            let index = (first + offset) % self.addresses.len();
            let Some(address) = self.addresses.get(index) else { continue };
            match places(address).await {
                Err(trouble) => troubles.note(trouble),
                Ok(found) => {
                    for peer in found {
                        if Some(peer) == avoid {
                            last.push((index, peer));
                            continue;
                        }
                        match self.dial_at(index, address, peer, tls.as_ref()).await {
                            Ok(connection) => return Ok(connection),
                            Err(trouble) => troubles.note(trouble),
                        }
                    }
                }
            }
        }
        for (index, peer) in last {
            let Some(address) = self.addresses.get(index) else { continue };
            match self.dial_at(index, address, peer, tls.as_ref()).await {
                Ok(connection) => return Ok(connection),
                Err(trouble) => troubles.note(trouble),
            }
        }
        Err(troubles.first())
    }

    async fn dial_at(
        &self,
        index: usize,
        address: &Address,
        peer: SocketAddr,
        tls: Option<&Tls>,
    ) -> Result<Connection, Trouble> {
        let pass = locked(&self.pass).clone().unwrap_or_default();
        let tls = tls.filter(|_| address.is_tls);
        match timeout(CONNECT, Connection::open(address, index, peer, tls, pass.token())).await {
            Ok(opened) => opened,
            Err(_) => {
                Err(Trouble::Away(format!("{}: no answer within {} s", address.text, CONNECT.as_secs())))
            }
        }
    }

    async fn tls(&self) -> Result<Option<Tls>, Unusable> {
        if !self.addresses.iter().any(|address| address.is_tls) {
            return Ok(None);
        }
        let config = Arc::new(client_config(&self.tls, &["h2"]).await?);
        Ok(Some(Tls { config, server_name: self.tls.server_name.clone() }))
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
        let password = password.read().await.map_err(|error| {
            Failure::NotSent(Trouble::Unusable(Unusable::File {
                key: "password",
                path: error.path,
                reason: error.reason,
            }))
        })?;
        let message = AuthenticateRequest { name: name.clone(), password: password.expose().to_owned() };
        let none = Pass::default();
        let call = connection.unary::<_, AuthenticateResponse>(AUTHENTICATE, message, Extras::default());
        let sent = self.attended(connection, &none, call).await;
        let pass = match self.learn(connection, &none, sent) {
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
        let opening = connection.streaming::<WatchRequest, WatchResponse>(WATCH, messages, extras);
        let opened = match timeout(self.limit, self.attended(&connection, &pass, opening)).await {
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

/// After a while of doubt: whether the member answers at all.
async fn lives(connection: &Connection, pass: &Pass) -> bool {
    tokio::time::sleep(DOUBT_AFTER).await;
    match timeout(LIFE_SIGN, connection.status(pass.token())).await {
        Ok(Ok(_)) => true,
        Ok(Err(status)) => std::error::Error::source(&status).is_none(),
        Err(_) => false,
    }
}

/// The places that an address stands for now.
async fn places(address: &Address) -> Result<Vec<SocketAddr>, Trouble> {
    let away = |reason: String| Trouble::Away(format!("{}: {reason}", address.text));
    let lookup = tokio::net::lookup_host((address.host.as_str(), address.port));
    match timeout(CONNECT, lookup).await {
        Err(_) => Err(away("its name is not resolved in time".to_owned())),
        Ok(Err(error)) => Err(away(error.to_string())),
        Ok(Ok(found)) => Ok(found.take(PLACES).collect()),
    }
}

/// What went wrong while several members were tried.
#[derive(Default)]
struct Troubles {
    unusable: Option<Trouble>,
    away: Option<Trouble>,
}

impl Troubles {
    fn note(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Unusable(_) => self.unusable.get_or_insert(trouble),
            Trouble::Away(_) => self.away.get_or_insert(trouble),
        };
    }

    /// What a person can change comes first.
    fn first(self) -> Trouble {
        self.unusable.or(self.away).unwrap_or_else(|| Trouble::Away("no address leads anywhere".to_owned()))
    }
}
