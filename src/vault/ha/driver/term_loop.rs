//! The two loops of a term: commits, one at a time, and checks, shared by all who wait for one.

use std::sync::Arc;
use std::time::Duration;

use super::member::lock;
use super::storage::AGAIN;
use super::term::Term;
use crate::vault::ha::committer::{Send, Stopped};
use crate::vault::ha::election::Event;
use crate::vault::physical::{Commit, FeedEvent, Head, Journal, StorageError};

/// Longest wait for the answer to a commit; a backend that paces its writes may take long.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// From when on a commit is slow: the storage is asked whether it is there at all. Also the time between two looks into the journal.
const SLOW: Duration = Duration::from_millis(200);

/// How long to look into the journal for what became of a commit.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);

impl Term {
    /// Sends batches until the epoch has ended and nothing is in flight.
    pub(super) async fn commit_loop(self: Arc<Self>) {
        let mut last: Option<Send> = None;
        loop {
            let (send, wake_at, stopped, is_in_flight) = {
                let mut state = lock(&self.state);
                let (now, wall) = (self.shared.now(), self.shared.unix());
                let send = state.committer.poll(now, wall, &*self.shared.parts.random);
                let committer = &state.committer;
                (send, committer.wake_at(), committer.stopped(), committer.is_in_flight())
            };
            if let Some(send) = send {
                self.commit(&send).await;
                last = Some(send);
                continue;
            }
            if stopped == Some(Stopped::Deposed) {
                if let Some(send) = last.filter(|_| is_in_flight) {
                    self.resolve(&send).await;
                }
                return;
            }
            let pause = wake_at.map_or(Duration::from_secs(3600), |at| at.since(self.shared.now()));
            tokio::select! {
                () = self.work.notified() => {}
                () = tokio::time::sleep(pause.max(Duration::from_millis(1))) => {}
                () = self.shared.parts.shutdown.wait() => return,
            }
        }
    }

    async fn commit(&self, send: &Send) {
        let sent_at = self.shared.now();
        let backend = &self.shared.parts.backend;
        let commit =
            tokio::time::timeout(COMMIT_TIMEOUT, backend.commit(Some(&send.expected), &send.next, &send.ops));
        tokio::pin!(commit);
        let answer = tokio::select! {
            answer = &mut commit => answer,
            () = self.watch_storage() => commit.await,
        };
        let answer = answer.unwrap_or_else(|_| Commit::Unknown { reason: "no answer in time".to_owned() });
        let is_unknown = matches!(answer, Commit::Unknown { .. });
        let fenced = match &answer {
            Commit::Fenced { current } if current.as_ref() != Some(&send.next) => Some(current.clone()),
            _ => None,
        };
        let is_stored = matches!(answer, Commit::Committed);
        if let Commit::Unknown { reason } = &answer {
            tracing::warn!(reason, seq = send.next.seq, "the outcome of a commit is unknown");
        }
        {
            let mut state = lock(&self.state);
            let now = self.shared.now();
            if is_stored {
                // Before anybody is told: a check that is sent from now on must find it.
                self.shared.note_head(&send.next);
                state.lease.committed(sent_at);
            }
            let done = state.committer.on_commit(send.next.batch_id, answer, now, &*self.shared.parts.random);
            self.complete(&mut state, done);
        }
        if is_stored {
            self.shared.note_answer();
        }
        if let Some(current) = fenced {
            self.note_other_epoch(current.as_ref());
            self.shared.tell(Event::Fenced { current }).await;
        }
        if is_unknown {
            self.ask_storage().await;
        }
    }

    fn note_other_epoch(&self, current: Option<&Head>) {
        if current.is_none_or(|head| head.epoch != self.epoch()) {
            self.end_reads();
        }
    }

    /// While a commit takes long: finds out whether the storage is away, and tells those who wait. Never ends.
    async fn watch_storage(&self) {
        let mut pause = SLOW;
        loop {
            tokio::time::sleep(pause).await;
            pause = if self.ask_storage().await { SLOW * 3 } else { AGAIN };
        }
    }

    /// Whether the storage answers. Once it counts as away, writers are told.
    async fn ask_storage(&self) -> bool {
        let Err(error @ StorageError::Unavailable { .. }) = self.shared.check().await else { return true };
        if self.shared.is_away() {
            let mut state = lock(&self.state);
            let done = state.committer.stall(&error);
            self.complete(&mut state, done);
        }
        false
    }

    /// After the head has moved on: looks into the journal for what became of the batch in flight.
    async fn resolve(&self, send: &Send) {
        let found = tokio::time::timeout(PROOF_TIMEOUT, self.record_after(&send.expected)).await;
        let mut state = lock(&self.state);
        let mut done = match &found {
            Ok(Some(record)) => state.committer.on_journal(record),
            _ => Vec::new(),
        };
        if state.committer.is_in_flight() {
            done.extend(state.committer.give_up("the journal does not tell what became of the commit"));
        }
        self.complete(&mut state, done);
    }

    async fn record_after(&self, head: &Head) -> Option<Journal> {
        loop {
            if let Ok(mut feed) = self.shared.parts.backend.follow(Some(head.clone())).await {
                self.shared.parts.backend.hurry();
                match feed.next().await {
                    Ok(FeedEvent::Record(record)) => return Some(record),
                    Ok(FeedEvent::Reset { .. }) => return None,
                    Err(_) => {}
                }
            }
            tokio::time::sleep(SLOW).await;
        }
    }

    /// Makes the checks that readers wait for; each serves all who asked before it was sent.
    pub(super) async fn check_loop(self: Arc<Self>) {
        loop {
            let number = {
                let mut state = lock(&self.state);
                if state.is_over {
                    return;
                }
                let next = state.lease.check_needed();
                state.wanted.filter(|wanted| *wanted >= next).map(|_| state.lease.send_check())
            };
            let Some(number) = number else {
                tokio::select! {
                    () = self.ask.notified() => continue,
                    () = self.shared.parts.shutdown.wait() => return,
                }
            };
            let (sent_at, floor, acknowledged) =
                (self.shared.now(), self.shared.highest(), self.acknowledged());
            let result = self.shared.check().await;
            let (mut odd, mut is_pause) = (None, false);
            {
                let mut state = lock(&self.state);
                match result {
                    Ok(Some(head)) if is_proof(&head, &acknowledged) => {
                        state.lease.check_succeeded(number, sent_at);
                    }
                    Ok(head) => {
                        state.lease.renounce();
                        odd = Some(head);
                    }
                    Err(StorageError::Unavailable { .. }) if !self.shared.is_away() => {
                        is_pause = true;
                        state.wanted = Some(state.lease.check_needed());
                    }
                    Err(error) => state.failures = (state.failures.0 + 1, Some(error)),
                }
            }
            self.bump();
            if let Some(head) = odd {
                self.shared.tell(Event::Checked { number: 0, floor, head: Some(head) }).await;
            }
            if is_pause && !self.shared.parts.shutdown.sleep(AGAIN).await {
                return;
            }
        }
    }
}

/// Whether a head proves leadership: of the same epoch, and holding everything acknowledged when it was asked for.
fn is_proof(head: &Head, acknowledged: &Head) -> bool {
    let is_same_epoch = head.cluster == acknowledged.cluster && head.epoch == acknowledged.epoch;
    is_same_epoch && (head.seq > acknowledged.seq || head == acknowledged)
}
