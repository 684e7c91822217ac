//! [`PostgresqlBackend`]: the storage behind the public trait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Row, types::ToSql};

use super::client::{DataStatements, Link, Session, Wakes};
use super::commit;
use super::config::{KIND, Settings};
use super::failure::Failure;
use super::feed::{self, Source};
use super::register::PostgresqlRegister;
use super::schema::{self, Needs};
use crate::base::task::Guarded;
use crate::config::PostgresqlStorage;
use crate::vault::physical::backend::{Backend, Commit, Feed, Limits, Listing, Op, StorageError, Value};
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::JournalFeed;
use crate::vault::physical::unusable::Unusable;
use crate::vault::physical::wire;

/// How long opening waits for a first answer.
const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// Limits of a commit, far below those of the protocol; a statement of this size takes about half a second.
const OPERATIONS: usize = 4096;
const COMMIT_BYTES: usize = 16 << 20;
const VALUE_BYTES: usize = 8 << 20;

/// Where a head stands in the history.
pub(super) type Position = (u64, u64);

/// The head that a commit of unknown outcome expected; `None`: that there is none.
type Doubt = Option<Head>;

/// Storage in a PostgreSQL database. Clones are handles to the same connections.
#[derive(Clone)]
pub struct PostgresqlBackend {
    shared: Arc<Shared>,
}

/// Opens storage and lock in the database that `config` names. A database that is away is no error: it is waited for.
/// Must be called on a Tokio runtime.
///
/// # Errors
/// What a person must change, if the database or a file says so within five seconds.
pub async fn open(config: &PostgresqlStorage) -> Result<(PostgresqlBackend, PostgresqlRegister), Unusable> {
    let shared = Shared::open(config, Needs::All).await?;
    Ok((PostgresqlBackend { shared: Arc::clone(&shared) }, PostgresqlRegister::new(shared)))
}

/// Opens the lock alone, which needs no table but its own. Must be called on a Tokio runtime.
///
/// # Errors
/// As [`open`].
pub async fn open_lock(config: &PostgresqlStorage) -> Result<PostgresqlRegister, Unusable> {
    Ok(PostgresqlRegister::new(Shared::open(config, Needs::Lock).await?))
}

/// What the handles, feeds and watches of one instance share.
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    /// For commits.
    pub(super) writer: Link,
    reader: Link,
    /// For checks and the lock, which must not wait behind anything large.
    pub(super) prover: Link,
    /// One commit at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) wakes: Wakes,
    /// The newest position that was shown to anybody.
    noted: Mutex<Option<Position>>,
    /// The head that a commit expected whose outcome is not known.
    doubt: Mutex<Option<Doubt>>,
    _listener: Guarded<()>,
}

impl Shared {
    async fn open(config: &PostgresqlStorage, needs: Needs) -> Result<Arc<Self>, Unusable> {
        let settings = Arc::new(Settings::new(config, needs).await?);
        let wakes = Wakes::default();
        let link = |purpose| Link::new(&settings, purpose, &wakes);
        let listener = feed::listen(link("listener"), settings.tables.listen(), wakes.clone());
        let shared = Arc::new(Self {
            writer: link("writer").apart(),
            reader: link("reader"),
            prover: link("prover"),
            turn: tokio::sync::Mutex::default(),
            wakes: wakes.clone(),
            noted: Mutex::default(),
            doubt: Mutex::default(),
            _listener: listener,
            settings,
        });
        match tokio::time::timeout(FIRST_CONTACT, shared.first_contact()).await {
            Ok(Ok(())) => {}
            Ok(Err(Failure::Unusable(reason))) => return Err(reason),
            Ok(Err(failure)) => tracing::warn!(reason = %failure, "PostgreSQL is away; waiting for it"),
            Err(_) => tracing::warn!(
                seconds = FIRST_CONTACT.as_secs(),
                "PostgreSQL does not answer; waiting for it"
            ),
        }
        Ok(shared)
    }

    /// Connects, and proves that it can be proven to be the primary.
    async fn first_contact(&self) -> Result<(), Failure> {
        let session = self.prover.session().await?;
        if self.settings.tables.needs == Needs::Lock {
            return Ok(());
        }
        match self.prove_on(&session).await {
            Err(Failure::Refused { address, state, reason }) if state == SqlState::INSUFFICIENT_PRIVILEGE => {
                let what = "a check with pg_logical_emit_message".to_owned();
                Err(Failure::Unusable(Unusable::Forbidden { address, what, reason }))
            }
            other => other.map(|_| ()),
        }
    }

    pub(super) fn noted(&self) -> Option<Position> {
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that a head at `position` is shown.
    pub(super) fn note(&self, position: Option<Position>) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = position.max(*noted);
    }

    /// Takes in what a check that was sent after `before` was noted has found: what it does not see is gone.
    fn proved(&self, before: Option<Position>, found: Option<Position>) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = if found < before { found } else { found.max(*noted) };
    }

    fn doubt(&self) -> MutexGuard<'_, Option<Doubt>> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the outcome of a commit after `expected` is not known.
    pub(super) fn note_doubt(&self, expected: Option<&Head>) {
        *self.doubt() = Some(expected.cloned());
    }

    /// Notes that a commit is stored, and with it whatever was stored before.
    pub(super) fn note_committed(&self, position: Position) {
        self.note(Some(position));
        *self.doubt() = None;
    }

    /// The head, with a proof that the server is the primary and that its standbys have all that is visible.
    pub(super) async fn prove_on(&self, session: &Session) -> Result<Option<Head>, Failure> {
        let (doubt, before) = (self.doubt().clone(), self.noted());
        let rows = session.write(&session.data()?.prove, &[], self.settings.request_timeout).await?;
        let lost = |error: tokio_postgres::Error| session.strange(&error);
        let row = only(&rows, session)?;
        let is_read_only: &str = row.try_get(1).map_err(lost)?;
        if is_read_only != "off" {
            let address = session.address.clone();
            return Err(Failure::Lost { address, reason: "it has become read-only".to_owned() });
        }
        let head = head(row.try_get(0).map_err(lost)?, session)?;
        self.proved(before, head.as_ref().map(Head::position));
        // A commit that expected another head is stored by now, or never will be.
        let mut now = self.doubt();
        if *now == doubt && doubt.is_some_and(|expected| expected != head) {
            *now = None;
        }
        drop(now);
        Ok(head)
    }

    async fn prove(&self) -> Result<Option<Head>, Failure> {
        self.prover.ask(|session| async move { self.prove_on(&session).await }).await
    }

    /// Reads with `question`, and again if the answer is older than what was shown before.
    pub(super) async fn read<T: Stated>(
        &self,
        params: &[&(dyn ToSql + Sync)],
        read: impl Fn(&Session, Vec<Row>) -> Result<T, Failure> + Send + Sync,
        statement: impl Fn(&DataStatements) -> &tokio_postgres::Statement + Send + Sync,
    ) -> Result<T, StorageError> {
        let limit = self.settings.request_timeout;
        for _ in 0..2 {
            if self.doubt().is_some() {
                self.prove().await?;
            }
            let noted = self.noted();
            let asked = self.reader.ask(|session| {
                let (read, statement) = (&read, &statement);
                async move {
                    let rows = session.query(statement(session.data()?), params, limit).await?;
                    read(&session, rows).map(|answer| (answer, session))
                }
            });
            let (answer, session) = asked.await?;
            let position = answer.position();
            if position >= noted {
                self.note(position);
                return Ok(answer);
            }
            // A server that is the primary no more, or a storage that was put back: a check tells.
            self.reader.forget(&session).await;
            self.prove().await?;
        }
        let reason = "the server answers with an older state than it did before".to_owned();
        Err(StorageError::Unavailable { storage: KIND, reason })
    }

    /// Frees the row that `pid` waits for, over a connection that never waits for one.
    pub(super) async fn unblock(&self, pid: i32) {
        let limit = self.settings.request_timeout.min(Duration::from_secs(1));
        let freed = self
            .reader
            .ask(|session| async move { session.query(&session.lock.unblock, &[&pid], limit).await });
        match freed.await {
            Ok(rows) => {
                for row in rows {
                    let session: Option<String> = row.try_get(0).unwrap_or_default();
                    tracing::warn!(session, "ended a session that stopped while it held a row of this vault");
                }
            }
            Err(failure) => {
                tracing::warn!(reason = %failure, "cannot see who holds the row that this node waits for")
            }
        }
    }
}

/// Something that was read with the head of its state.
pub(super) trait Stated: Send {
    /// Where that head stands; `None` if there is none.
    fn position(&self) -> Option<Position>;
}

impl Stated for Option<Value> {
    fn position(&self) -> Option<Position> {
        self.as_ref().map(|value| value.head.position())
    }
}

impl Stated for Option<Listing> {
    fn position(&self) -> Option<Position> {
        self.as_ref().map(|listing| listing.head.position())
    }
}

/// The one row of an answer.
pub(super) fn only<'a>(rows: &'a [Row], session: &Session) -> Result<&'a Row, Failure> {
    let reason =
        || Failure::Lost { address: session.address.clone(), reason: "an answer without a row".to_owned() };
    rows.first().ok_or_else(reason)
}

/// The head in a column.
pub(super) fn head(text: Option<&str>, session: &Session) -> Result<Option<Head>, Failure> {
    let damaged = |reason| Failure::Damaged { address: session.address.clone(), reason };
    text.map(|text| wire::head(text.as_bytes()).map_err(damaged)).transpose()
}

/// The head in the first column, and the row; `None` if there is no head.
pub(super) fn stated<'a>(rows: &'a [Row], session: &Session) -> Result<Option<(Head, &'a Row)>, Failure> {
    let Some(row) = rows.first() else { return Ok(None) };
    let text = row.try_get(0).map_err(|error| session.strange(&error))?;
    Ok(head(Some(text), session)?.map(|head| (head, row)))
}

#[async_trait]
impl Backend for PostgresqlBackend {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        Limits {
            operations: OPERATIONS,
            commit_bytes: COMMIT_BYTES,
            value_bytes: VALUE_BYTES,
            data_bytes: None,
        }
    }

    async fn commit(&self, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
        if let Err(error) = self.limits().admit(KIND, ops) {
            return Commit::Refused(error);
        }
        commit::commit(&self.shared, expected, next, ops).await
    }

    async fn get(&self, key: &str) -> Result<Value, StorageError> {
        let read = |session: &Session, rows: Vec<Row>| {
            let Some((head, row)) = stated(&rows, session)? else { return Ok(None) };
            let value: Option<&[u8]> = row.try_get(1).map_err(|error| session.strange(&error))?;
            Ok(Some(Value { value: value.map(Bytes::copy_from_slice), head }))
        };
        let found = self.shared.read(&[&key], read, |data| &data.get).await?;
        found.ok_or(StorageError::Empty { storage: KIND })
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StorageError> {
        let (from, to) = schema::range(prefix, after);
        // One more tells whether more follow.
        let most = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let read = |session: &Session, rows: Vec<Row>| {
            let Some((head, row)) = stated(&rows, session)? else { return Ok(None) };
            let mut keys: Vec<String> = row.try_get(1).map_err(|error| session.strange(&error))?;
            let more = keys.len() > limit;
            keys.truncate(limit);
            Ok(Some(Listing { keys, more, head }))
        };
        let found = self.shared.read(&[&from, &to, &most], read, |data| &data.list).await?;
        found.ok_or(StorageError::Empty { storage: KIND })
    }

    async fn check(&self) -> Result<Option<Head>, StorageError> {
        Ok(self.shared.prove().await?)
    }

    async fn follow(&self, from: Option<Head>) -> Result<Box<dyn Feed>, StorageError> {
        let source = Arc::new(Source::new(Arc::clone(&self.shared)));
        Ok(Box::new(JournalFeed::new(source, from)))
    }
}
