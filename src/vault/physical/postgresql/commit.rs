//! The one write: a batch after a head.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::backend::{Shared, only};
use super::client::Session;
use super::config::KIND;
use super::failure::Failure;
use crate::vault::physical::backend::{Commit, Op, StorageError};
use crate::vault::physical::head::Head;
use crate::vault::physical::wire;

/// How long a claim, or a swap of the lock, waits for its row before it looks who holds it, and again.
const WAITS: Duration = Duration::from_millis(200);

/// A batch as the statement takes it: each key once, in order.
struct Batch<'a> {
    epoch: i64,
    seq: i64,
    head: String,
    expected: Option<String>,
    keys: Vec<&'a str>,
    values: Vec<&'a [u8]>,
    deleted: Vec<&'a str>,
    record: String,
    trimmed: Option<i64>,
}

impl<'a> Batch<'a> {
    fn new(expected: Option<&Head>, next: &Head, ops: &'a [Op]) -> Result<Self, StorageError> {
        let number = |number: u64| {
            i64::try_from(number).map_err(|_| damaged("the head's numbers are at their end".to_owned()))
        };
        let touched = ops.iter().map(|op| op.key().to_owned()).collect();
        let mut batch = Self {
            epoch: number(next.epoch)?,
            seq: number(next.seq)?,
            head: text(wire::head_bytes(next)),
            expected: expected.map(|head| text(wire::head_bytes(head))),
            keys: Vec::new(),
            values: Vec::new(),
            deleted: Vec::new(),
            record: text(wire::journal_bytes(&wire::record_of(expected, next, touched))),
            trimmed: wire::trimmed_by(next).map(number).transpose()?,
        };
        // Of several operations on a key the last one counts.
        let mut seen = HashSet::new();
        for op in ops.iter().rev().filter(|op| seen.insert(op.key())) {
            match op {
                Op::Put { key, value } => {
                    batch.keys.push(key);
                    batch.values.push(value);
                }
                Op::Delete { key } => batch.deleted.push(key),
            }
        }
        Ok(batch)
    }

    async fn send(&self, session: &Session, limit: Duration) -> Result<Vec<Row>, Failure> {
        let data = session.data()?;
        let all: [&(dyn ToSql + Sync); 8] = [
            &self.epoch,
            &self.seq,
            &self.head,
            &self.keys,
            &self.values,
            &self.deleted,
            &self.record,
            &self.trimmed,
        ];
        match &self.expected {
            None => session.write(&data.init, &all, limit).await,
            Some(expected) => {
                let mut all = all.to_vec();
                all.push(expected);
                session.write(&data.commit, &all, limit).await
            }
        }
    }
}

/// JSON is text.
pub(super) fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap_or_default()
}

fn damaged(reason: String) -> StorageError {
    StorageError::Damaged { storage: KIND, reason }
}

/// Notes a doubt when a commit ends without a certain outcome, also if its caller stops waiting.
struct Unsure<'a> {
    shared: &'a Shared,
    expected: Option<&'a Head>,
    is_sure: bool,
}

impl Drop for Unsure<'_> {
    fn drop(&mut self) {
        if !self.is_sure {
            self.shared.note_doubt(self.expected);
        }
    }
}

/// Replaces `expected` by `next` together with `ops`. Nothing is ever sent twice.
pub(super) async fn commit(shared: &Shared, expected: Option<&Head>, next: &Head, ops: &[Op]) -> Commit {
    let batch = match Batch::new(expected, next, ops) {
        Ok(batch) => batch,
        Err(error) => return Commit::Refused(error),
    };
    let is_claim = expected.is_some_and(|expected| expected.epoch != next.epoch);
    let _turn = shared.turn.lock().await;
    let session = match shared.writer.session().await {
        Ok(session) => session,
        // Nothing was sent.
        Err(failure) => return Commit::Unknown { reason: failure.to_string() },
    };
    let mut unsure = Unsure { shared, expected, is_sure: false };
    let sent = batch.send(&session, shared.settings.request_timeout);
    let answer = if is_claim { waiting(shared, session.pid, sent).await } else { sent.await };
    let outcome = match answer {
        Ok(rows) if !rows.is_empty() => {
            shared.note_committed(next.position());
            shared.wakes.head.send_replace(());
            Commit::Committed
        }
        Ok(_) => fenced(shared, &session, expected.is_none()).await,
        Err(failure) => judge(failure),
    };
    unsure.is_sure = !matches!(outcome, Commit::Unknown { .. });
    drop(unsure);
    if !matches!(outcome, Commit::Committed | Commit::Fenced { .. }) {
        shared.writer.forget(&session).await;
    }
    outcome
}

/// What a failure says about the batch: that nothing of it is stored, on the short list of the server's own
/// words for that.
fn judge(failure: Failure) -> Commit {
    match &failure {
        Failure::Refused { state, .. } if *state == SqlState::DISK_FULL => {
            let reason = format!("its disk is full: {failure}");
            Commit::Refused(StorageError::Unavailable { storage: KIND, reason })
        }
        Failure::Refused { state, .. } if *state == SqlState::INSUFFICIENT_PRIVILEGE => {
            Commit::Refused(StorageError::Denied { storage: KIND, reason: failure.to_string() })
        }
        _ => Commit::Unknown { reason: failure.to_string() },
    }
}

/// The head was another one. What it is now is told by a check, after which it cannot be lost.
async fn fenced(shared: &Shared, session: &Arc<Session>, is_init: bool) -> Commit {
    let current = match shared.prove_on(session).await {
        Ok(current) => current,
        Err(failure) => {
            return Commit::Unknown {
                reason: format!("the head is another one, and cannot be read: {failure}"),
            };
        }
    };
    if is_init && current.is_none() {
        return match has_data(shared, session).await {
            Ok(true) => Commit::Refused(damaged(
                "there is data but no head; restore the head, or empty the tables to begin anew".to_owned(),
            )),
            Ok(false) => Commit::Unknown { reason: "no head could be made, for no reason".to_owned() },
            Err(failure) => Commit::Unknown { reason: failure.to_string() },
        };
    }
    Commit::Fenced { current }
}

async fn has_data(shared: &Shared, session: &Session) -> Result<bool, Failure> {
    let rows = session.query(&session.data()?.has_data, &[], shared.settings.request_timeout).await?;
    only(&rows, session)?.try_get(0).map_err(|error| session.strange(&error))
}

/// Waits for an answer, and frees the row that `pid` waits for when that takes long.
pub(super) async fn waiting<T>(shared: &Shared, pid: i32, sent: impl Future<Output = T>) -> T {
    tokio::pin!(sent);
    loop {
        tokio::select! {
            biased;
            answer = &mut sent => return answer,
            () = tokio::time::sleep(WAITS) => {}
        }
        shared.unblock(pid).await;
    }
}
