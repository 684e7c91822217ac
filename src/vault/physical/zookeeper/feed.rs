//! The journal, read page by page and woken by a watch on the head's node.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;

use super::client::Failure;
use super::layout::Entry;
use super::proto::{self, Code, Found, Question, opcode};
use super::state::{State, damaged, text, unavailable};
use crate::vault::physical::backend::StorageError;
use crate::vault::physical::head::Head;
use crate::vault::physical::journal::{JournalPage, JournalSource};
use crate::vault::physical::wire;

/// How long a watch is believed that says nothing.
const POLL: Duration = Duration::from_secs(1);
/// Records that are asked for beyond those that are expected: some are added until they are read.
const SPARE: usize = 8;
/// How often a page is read anew because more records came than were asked for.
const ATTEMPTS: usize = 5;

/// The records from `from_seq` on, about `expected` and at most `limit`, with the head of the same state. If there are
/// many more than expected, they are read once more.
pub(super) async fn entries(
    state: &State,
    from_seq: u64,
    expected: usize,
    limit: usize,
) -> Result<(Option<Head>, Vec<Entry>), StorageError> {
    let mut count = limit.min(expected + SPARE);
    for _ in 0..ATTEMPTS {
        let seqs = (0..count).filter_map(|n| from_seq.checked_add(u64::try_from(n).ok()?));
        let questions: Vec<Question> = seqs.map(|seq| Question::Data(state.layout().record(seq))).collect();
        let snapshot = state.read(&questions).await?;
        let Some(head) = snapshot.stored.map(|stored| stored.head) else { return Ok((None, Vec::new())) };
        let there = (head.seq + 1).saturating_sub(from_seq);
        let wanted = limit.min(usize::try_from(there).unwrap_or(usize::MAX));
        if wanted > count {
            count = limit.min(wanted + SPARE);
            continue;
        }
        let mut entries = Vec::with_capacity(wanted);
        for found in snapshot.found.into_iter().take(wanted) {
            // What is missing was trimmed, or belongs to a history that is gone: the reader sees the gap.
            if let Some((bytes, _)) = text(Some(found))? {
                entries.push(Entry::read(&bytes).map_err(damaged)?);
            }
        }
        return Ok((Some(head), entries));
    }
    Err(unavailable("the journal grows faster than it can be read"))
}

#[async_trait]
impl JournalSource for State {
    async fn page(&self, from_seq: u64, limit: usize) -> Result<JournalPage, StorageError> {
        // A steady load brings as many as it did the last time.
        let (head, entries) = entries(self, from_seq, self.page_len.load(Relaxed), limit).await?;
        self.page_len.store(entries.len(), Relaxed);
        self.note_entries(&entries);
        Ok(JournalPage { head, records: entries.into_iter().map(|entry| entry.record).collect() })
    }

    async fn wait(&self, seen: Option<&Head>) -> Result<(), StorageError> {
        if let Some(seen) = seen {
            self.warm_index(seen).await;
        }
        let mut events = self.client.events();
        events.mark_unchanged();
        let (path, request) = match (seen, self.head_node()) {
            (Some(_), Some(node)) => (node, opcode::GET_DATA),
            // Init makes this node.
            _ => (self.layout().current(), opcode::EXISTS),
        };
        let replies = self.client.ask_again(vec![(request, proto::look(&path, true))]).await;
        let reply = replies.map_err(Failure::into_error)?.pop();
        let reply = reply.ok_or_else(|| unavailable("there is no answer"))?;
        let is_as_seen = match (reply.code, seen) {
            (Code::OK, Some(seen)) if request == opcode::GET_DATA => {
                let (bytes, stat) =
                    proto::data(reply.body).map_err(|error| unavailable(&error.to_string()))?;
                let found = text(Some(Found::Data(bytes, stat)))?;
                found.is_some_and(|(bytes, _)| bytes == wire::head_bytes(seen))
            }
            (Code::NO_NODE, None) => true,
            (Code::OK | Code::NO_NODE, _) => false,
            (code, _) => return Err(self.error(code, &path)),
        };
        if is_as_seen {
            // The sender lives as long as the client: an error cannot happen.
            let _ = tokio::time::timeout(POLL, events.changed()).await;
        }
        Ok(())
    }
}
