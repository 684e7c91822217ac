//! Sessions with the database: one for each purpose, opened when it is needed and given up at the first failure.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, watch};
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, Row, Statement};

use super::config::Settings;
use super::connect::connect;
use super::failure::{Failure, chain};
use super::schema::{Needs, Tables, unblock};
use crate::base::clock::{Clock, Moment, SystemClock};
use crate::base::task::{self, Guarded, Shutdown};

/// For so long after a failed attempt nobody else tries.
const RETRY: Duration = Duration::from_millis(100);
/// Most hosts times attempts that one call waits for.
const CONNECT_MOST: Duration = Duration::from_secs(10);

/// What wakes those who wait for changes of head and lock.
#[derive(Clone)]
pub(super) struct Wakes {
    pub(super) head: watch::Sender<()>,
    pub(super) lock: watch::Sender<()>,
}

impl Default for Wakes {
    fn default() -> Self {
        Self { head: watch::Sender::new(()), lock: watch::Sender::new(()) }
    }
}

impl Wakes {
    /// Wakes everybody.
    pub(super) fn all(&self) {
        self.head.send_replace(());
        self.lock.send_replace(());
    }
}

/// What arrives on a connection beside answers.
#[derive(Clone)]
pub(super) struct Inbox {
    pub(super) wakes: Wakes,
    lock_channel: String,
    warnings: Arc<AtomicU64>,
    closed: Shutdown,
}

impl Inbox {
    pub(super) fn new(wakes: Wakes, tables: &Tables) -> Self {
        Self {
            wakes,
            lock_channel: tables.lock_channel.clone(),
            warnings: Arc::default(),
            closed: Shutdown::default(),
        }
    }

    /// Drives `connection` until it ends. A warning is counted before the answer behind it is delivered.
    pub(super) async fn drive<S, T>(self, mut connection: Connection<S, T>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        T: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    if is_warning(&notice) {
                        tracing::warn!(message = notice.message(), "PostgreSQL warns");
                        self.warnings.fetch_add(1, Ordering::SeqCst);
                    }
                }
                Some(Ok(AsyncMessage::Notification(notification))) => {
                    let is_lock = notification.channel() == self.lock_channel;
                    let woken = if is_lock { &self.wakes.lock } else { &self.wakes.head };
                    woken.send_replace(());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::debug!(reason = chain(&error), "a connection to PostgreSQL ended");
                    break;
                }
                None => break,
            }
        }
        self.closed.trigger();
    }
}

/// Whether a notice may mean that what was committed is not replicated. Of the others only those are known that
/// come with every transaction while the server is short of transaction numbers: they must not stop the vault
/// before the server does.
fn is_warning(notice: &DbError) -> bool {
    use Severity::{Debug, Info, Log, Notice};
    let is_harmless = matches!(notice.routine(), Some("GetNewTransactionId" | "GetNewMultiXactId"));
    !is_harmless && !matches!(notice.parsed_severity(), Some(Debug | Info | Log | Notice))
}

/// The statements of the data.
pub(super) struct DataStatements {
    pub(super) commit: Statement,
    pub(super) init: Statement,
    pub(super) prove: Statement,
    pub(super) has_data: Statement,
    pub(super) get: Statement,
    pub(super) list: Statement,
    pub(super) page: Statement,
}

/// The statements of the lock, and the one that frees a row.
pub(super) struct LockStatements {
    pub(super) read: Statement,
    pub(super) insert: Statement,
    pub(super) swap: Statement,
    pub(super) unblock: Statement,
}

/// An open session.
pub(super) struct Session {
    pub(super) client: Client,
    /// `host:port`.
    pub(super) address: String,
    /// The server's process that serves it.
    pub(super) pid: i32,
    /// `None` where only the lock is needed.
    data: Option<DataStatements>,
    pub(super) lock: LockStatements,
    pub(super) inbox: Inbox,
    _driver: Guarded<()>,
}

impl Session {
    /// Prepares everything on a new connection.
    pub(super) async fn prepare(
        client: Client,
        address: String,
        pid: i32,
        tables: &Tables,
        (inbox, driver): (Inbox, Guarded<()>),
    ) -> Result<Self, tokio_postgres::Error> {
        let lock = async {
            let (read, insert, swap, unblock) =
                (tables.lock_read(), tables.lock_insert(), tables.lock_swap(), unblock());
            let (read, insert, swap, unblock) = futures_util::try_join!(
                client.prepare(&read),
                client.prepare(&insert),
                client.prepare(&swap),
                client.prepare(&unblock),
            )?;
            Ok(LockStatements { read, insert, swap, unblock })
        };
        let data = async {
            if tables.needs == Needs::Lock {
                return Ok(None);
            }
            let texts = [tables.commit(), tables.init(), tables.prove(), tables.has_data()];
            let reads = [tables.get(), tables.list(), tables.page()];
            let (commit, init, prove, has_data, get, list, page) = futures_util::try_join!(
                client.prepare(&texts[0]),
                client.prepare(&texts[1]),
                client.prepare(&texts[2]),
                client.prepare(&texts[3]),
                client.prepare(&reads[0]),
                client.prepare(&reads[1]),
                client.prepare(&reads[2]),
            )?;
            Ok(Some(DataStatements { commit, init, prove, has_data, get, list, page }))
        };
        let (lock, data) = futures_util::try_join!(lock, data)?;
        Ok(Self { client, address, pid, data, lock, inbox, _driver: driver })
    }

    /// The statements of the data.
    pub(super) fn data(&self) -> Result<&DataStatements, Failure> {
        let reason = || Failure::Away("this is a lock, without data".to_owned());
        self.data.as_ref().ok_or_else(reason)
    }

    /// Sends a statement and waits at most `limit` for all of its answer.
    pub(super) async fn query(
        &self,
        statement: &Statement,
        params: &[&(dyn ToSql + Sync)],
        limit: Duration,
    ) -> Result<Vec<Row>, Failure> {
        match tokio::time::timeout(limit, self.client.query(statement, params)).await {
            Ok(answer) => answer.map_err(|error| Failure::of(&self.address, &error)),
            Err(_) => Err(Failure::Late { address: self.address.clone(), limit }),
        }
    }

    /// As [`Session::query`], for a statement that writes: a warning that came with the answer is a failure.
    /// One such statement at a time; of others that run meanwhile, a warning counts as well.
    pub(super) async fn write(
        &self,
        statement: &Statement,
        params: &[&(dyn ToSql + Sync)],
        limit: Duration,
    ) -> Result<Vec<Row>, Failure> {
        let before = self.inbox.warnings.load(Ordering::SeqCst);
        let answer = self.query(statement, params, limit).await;
        let is_warned = self.inbox.warnings.load(Ordering::SeqCst) != before;
        match answer {
            Ok(_) | Err(Failure::Refused { .. }) if is_warned => {
                Err(Failure::Warned { address: self.address.clone() })
            }
            other => other,
        }
    }

    /// An answer that cannot be right.
    pub(super) fn strange(&self, error: &tokio_postgres::Error) -> Failure {
        Failure::Lost { address: self.address.clone(), reason: chain(error) }
    }

    /// Waits until the connection has ended.
    pub(super) async fn closed(&self) {
        self.inbox.closed.wait().await;
    }
}

/// A session for one purpose, opened anew when it is needed and the last one failed.
pub(super) struct Link {
    settings: Arc<Settings>,
    purpose: &'static str,
    is_apart: bool,
    wakes: Wakes,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    session: Option<Arc<Session>>,
    failed: Option<(Moment, Failure)>,
}

impl Link {
    pub(super) fn new(settings: &Arc<Settings>, purpose: &'static str, wakes: &Wakes) -> Self {
        let (settings, wakes) = (Arc::clone(settings), wakes.clone());
        Self { settings, purpose, is_apart: false, wakes, slot: Mutex::default() }
    }

    /// With connections that live on the thread that sends commits.
    pub(super) fn apart(self) -> Self {
        Self { is_apart: true, ..self }
    }

    /// The session.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut slot = self.slot.lock().await;
        if let Some(session) = slot.session.take_if(|session| session.client.is_closed()) {
            tracing::debug!(address = session.address, purpose = self.purpose, "a connection was closed");
        }
        if let Some(session) = &slot.session {
            return Ok(Arc::clone(session));
        }
        let clock = SystemClock;
        if let Some((at, failure)) = &slot.failed
            && clock.now().since(*at) < RETRY
        {
            return Err(failure.clone());
        }
        let (settings, purpose, wakes) = (Arc::clone(&self.settings), self.purpose, self.wakes.clone());
        let connecting = async move { connect(&settings, purpose, &wakes).await };
        let connected = tokio::time::timeout(CONNECT_MOST, async {
            if !self.is_apart {
                return connecting.await;
            }
            let connected = task::apart("storage-connecting", connecting).await;
            connected.unwrap_or_else(|broken| Err(Failure::Away(broken.to_string())))
        });
        let late = |_| Failure::Away(format!("no server answered within {} s", CONNECT_MOST.as_secs()));
        match connected.await.map_err(late).flatten() {
            Ok(session) => {
                let session = Arc::new(session);
                *slot = Slot { session: Some(Arc::clone(&session)), failed: None };
                Ok(session)
            }
            Err(failure) => {
                slot.failed = Some((clock.now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Gives up `session`, if it is still the one in use.
    pub(super) async fn forget(&self, session: &Arc<Session>) {
        let mut slot = self.slot.lock().await;
        slot.session.take_if(|current| Arc::ptr_eq(current, session));
    }

    /// Asks the session, and once again on a new one if that may help.
    pub(super) async fn ask<T, F>(&self, question: impl Fn(Arc<Session>) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let session = self.session().await?;
        let failure = match question(Arc::clone(&session)).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        self.forget(&session).await;
        if !failure.is_worth_another_try() {
            return Err(failure);
        }
        let session = self.session().await?;
        match question(Arc::clone(&session)).await {
            Ok(answer) => Ok(answer),
            Err(failure) => {
                self.forget(&session).await;
                Err(failure)
            }
        }
    }
}
