//! Calls to a cluster: one connection at a time to one of its members, and another member when that one fails.
//!
//! A call that stays unanswered is looked after: the member is asked for its own status, which needs no other member. A
//! member that does not answer that either is left at once; one that does is busy or waits for its quorum. If it
//! tells of an election since the call was sent, the call may have been lost with the old leader and is given up.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use prost::Message;
use tokio::time::timeout;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::{Status, Streaming};

use super::answer::{Answer, Failure, Trouble};
use super::connect::{Address, Connection, Extras};
use super::dial::dial;
use super::proto::{
    AUTHENTICATE, AuthenticateRequest, AuthenticateResponse, WATCH, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use crate::base::secret::SecretString;
use crate::config::{ClientTls, Credential, CredentialError, EtcdStorage};
use crate::vault::physical::unusable::Unusable;

/// A call that is older makes the client ask whether the member lives.
const DOUBT_AFTER: Duration = Duration::from_millis(500);
/// How long the member may take to say that it lives.
const LIFE_SIGN: Duration = Duration::from_millis(500);
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
        let term = connection.term.load(Ordering::Relaxed);
        let mut call = pin!(call);
        loop {
            let reason = tokio::select! {
                biased;
                answer = &mut call => return answer.map_err(|status| Failure::of(&connection.address, &status)),
                sign = life_sign(connection, pass) => match sign {
                    Sign::None => {
                        format!("it gave no sign of life for {} s", (DOUBT_AFTER + LIFE_SIGN).as_secs_f64())
                    }
                    // What was on its way to the old leader may never be answered.
                    Sign::Term(now) if now != term && term != 0 => "a leader was elected meanwhile".to_owned(),
                    Sign::Term(_) | Sign::Some => continue,
                },
            };
            return Err(Failure::Lost { address: connection.address.clone(), reason });
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

/// What a member says while a call waits.
enum Sign {
    None,
    /// It lives.
    Some,
    /// It lives, and this is its raft term.
    Term(u64),
}

/// A part of the login as it is now; `key` is the setting that says where it is.
async fn read(key: &'static str, credential: &Credential) -> Result<SecretString, Failure> {
    let unreadable = |error: CredentialError| Unusable::File { key, path: error.path, reason: error.reason };
    credential.read().await.map_err(|error| Failure::NotSent(Trouble::Unusable(unreadable(error))))
}

/// After a while of doubt: whether the member answers at all.
async fn life_sign(connection: &Connection, pass: &Pass) -> Sign {
    tokio::time::sleep(DOUBT_AFTER).await;
    match timeout(LIFE_SIGN, connection.status(pass.token())).await {
        Ok(Ok(status)) => {
            connection.term.store(status.raft_term, Ordering::Relaxed);
            Sign::Term(status.raft_term)
        }
        Ok(Err(status)) if std::error::Error::source(&status).is_none() => Sign::Some,
        Ok(Err(_)) | Err(_) => Sign::None,
    }
}
