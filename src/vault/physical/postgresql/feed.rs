//! The journal, and what wakes those who read it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio_postgres::Row;

use super::backend::{Position, Shared, Stated, stated};
use super::client::{Link, Session, Wakes};
use super::failure::Failure;
use crate::base::backoff::Backoff;
use crate::base::random::SystemRandom;
use crate::base::task::{self, Guarded};
use crate::vault::physical::backend::{Journal, StorageError};
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::{JournalPage, JournalSource};
use crate::vault::physical::wire;

/// How often head and lock are read when nothing is notified.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// How long telling the server what to notify may take.
const LISTEN: Duration = Duration::from_secs(5);
/// Delays before the listener connects again.
const FIRST_DELAY: Duration = Duration::from_millis(20);
const MOST_DELAY: Duration = Duration::from_secs(1);

/// Listens, on a connection of its own, until the guard is dropped. Whenever it has begun to, everybody is
/// woken: a notification may have been missed.
pub(super) fn listen(link: Link, listen: String, wakes: Wakes) -> Guarded<()> {
    task::guard("storage-listen", async move {
        let mut backoff = Backoff::new(FIRST_DELAY, MOST_DELAY);
        loop {
            if let Ok(session) = link.session().await {
                let listening = tokio::time::timeout(LISTEN, session.client.batch_execute(&listen)).await;
                if matches!(listening, Ok(Ok(()))) {
                    backoff.reset();
                    wakes.all();
                    session.closed().await;
                }
                link.forget(&session).await;
            }
            tokio::time::sleep(backoff.next_delay(&SystemRandom)).await;
        }
    })
}

/// The journal as one feed reads it.
pub(super) struct Source {
    shared: Arc<Shared>,
    /// What was notified and not looked at.
    moved: Mutex<watch::Receiver<()>>,
}

impl Source {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let moved = Mutex::new(shared.wakes.head.subscribe());
        Self { shared, moved }
    }
}

impl Stated for JournalPage {
    fn position(&self) -> Option<Position> {
        self.head.as_ref().map(Head::position)
    }
}

#[async_trait]
impl JournalSource for Source {
    async fn page(&self, from_seq: u64, limit: usize) -> Result<JournalPage, StorageError> {
        // What is notified from here on is not in the page.
        self.moved.lock().await.mark_unchanged();
        let from = i64::try_from(from_seq).unwrap_or(i64::MAX);
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        self.shared.read(&[&from, &most], read_page, |data| &data.page).await
    }

    async fn wait(&self, _seen: Option<&Head>) -> Result<(), StorageError> {
        let mut moved = self.moved.lock().await;
        // Neither the end of the time nor that of the sender, which the instance holds, is an error.
        let _ = tokio::time::timeout(POLL, moved.changed()).await;
        Ok(())
    }
}

fn read_page(session: &Session, rows: Vec<Row>) -> Result<JournalPage, Failure> {
    let Some((head, row)) = stated(&rows, session)? else {
        return Ok(JournalPage { head: None, records: Vec::new() });
    };
    let texts: Vec<&str> = row.try_get(1).map_err(|error| session.strange(&error))?;
    let records: Result<Vec<Journal>, String> =
        texts.iter().map(|text| wire::journal(text.as_bytes())).collect();
    let damaged = |reason| Failure::Damaged { address: session.address.clone(), reason };
    Ok(JournalPage { head: Some(head), records: records.map_err(damaged)? })
}
