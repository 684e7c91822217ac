//! [`PostgresqlRegister`]: a row as a compare-and-swap register.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_postgres::Row;

use super::backend::Shared;
use super::client::Session;
use super::commit::{text, waiting};
use super::config::KIND;
use super::failure::Failure;
use super::feed::POLL;
use crate::base::random::{Random, SystemRandom};
use crate::vault::physical::head::LockName;
use crate::vault::physical::register::{
    HaBackend, LockRecord, RegisterError, RegisterWatch, Swap, Version, Versioned,
};
use crate::vault::physical::wire;

/// The version of a new row is drawn below this, so that a row that was deleted and made anew has another one.
const FIRST_VERSIONS: u64 = 1 << 62;

/// The lock in a row of a table. Clones share the connection.
#[derive(Clone)]
pub struct PostgresqlRegister {
    shared: Arc<Shared>,
}

impl PostgresqlRegister {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn refine(&self, failure: Failure) -> RegisterError {
        failure.of_lock(self.name().to_string())
    }

    /// Sends what writes, once.
    async fn write(
        &self,
        session: &Session,
        expected: Option<i64>,
        record: &str,
    ) -> Result<Option<i64>, Failure> {
        let limit = self.shared.settings.request_timeout;
        let (statement, version) = match expected {
            Some(version) => (&session.lock.swap, version),
            None => {
                let version = i64::try_from(SystemRandom.below(FIRST_VERSIONS)).unwrap_or_default();
                (&session.lock.insert, version)
            }
        };
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&version, &record];
        let sent = session.write(statement, &params, limit);
        let rows = waiting(&self.shared, session.pid, sent).await?;
        rows.first().map(|row| row.try_get(0).map_err(|error| session.strange(&error))).transpose()
    }
}

fn versioned(session: &Session, rows: &[Row]) -> Result<Option<Versioned>, Failure> {
    let Some(row) = rows.first() else { return Ok(None) };
    let lost = |error: tokio_postgres::Error| session.strange(&error);
    let version: i64 = row.try_get(0).map_err(lost)?;
    let text: &str = row.try_get(1).map_err(lost)?;
    let damaged = |reason| Failure::Damaged { address: session.address.clone(), reason };
    let record = wire::lock(text.as_bytes()).map_err(damaged)?;
    Ok(Some(Versioned { version: Version(version.to_string()), record }))
}

#[async_trait]
impl HaBackend for PostgresqlRegister {
    fn name(&self) -> LockName {
        LockName {
            kind: KIND.to_owned(),
            namespace: self.shared.settings.database.clone(),
            name: self.shared.settings.tables.lock_name.clone(),
        }
    }

    async fn read(&self) -> Result<Option<Versioned>, RegisterError> {
        let limit = self.shared.settings.request_timeout;
        let asked = self.shared.prover.ask(|session| async move {
            let rows = session.query(&session.lock.read, &[], limit).await?;
            versioned(&session, &rows)
        });
        asked.await.map_err(|failure| self.refine(failure))
    }

    async fn swap(&self, expected: Option<&Version>, next: &LockRecord) -> Swap {
        let version = match expected.map(|version| version.0.parse()) {
            None => None,
            Some(Ok(version)) => Some(version),
            // No row ever had it.
            Some(Err(_)) => return Swap::Conflict,
        };
        let session = match self.shared.prover.session().await {
            Ok(session) => session,
            Err(failure) => return Swap::Unknown { reason: failure.to_string() },
        };
        match self.write(&session, version, &text(wire::lock_bytes(next))).await {
            Ok(Some(version)) => {
                self.shared.wakes.lock.send_replace(());
                Swap::Swapped(Version(version.to_string()))
            }
            Ok(None) => Swap::Conflict,
            Err(failure) => {
                self.shared.prover.forget(&session).await;
                Swap::Unknown { reason: failure.to_string() }
            }
        }
    }

    async fn watch(&self) -> Result<Box<dyn RegisterWatch>, RegisterError> {
        let moved = self.shared.wakes.lock.subscribe();
        Ok(Box::new(RowWatch { register: self.clone(), moved, seen: None }))
    }
}

/// Watches the row: woken by notifications, and every second.
struct RowWatch {
    register: PostgresqlRegister,
    moved: watch::Receiver<()>,
    /// What was reported last; `None` before the first report.
    seen: Option<Option<Versioned>>,
}

#[async_trait]
impl RegisterWatch for RowWatch {
    async fn changed(&mut self) -> Result<Option<Versioned>, RegisterError> {
        loop {
            self.moved.mark_unchanged();
            let now = self.register.read().await?;
            if self.seen.as_ref() != Some(&now) {
                self.seen = Some(now.clone());
                return Ok(now);
            }
            let _ = tokio::time::timeout(POLL, self.moved.changed()).await;
        }
    }
}
