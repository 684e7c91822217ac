//! The loop that commits: one batch at a time, sent again while its outcome is unknown.

use std::sync::Arc;
use std::time::Duration;

use crate::vault::ha::committer::{Send, Stopped};
use super::{PATIENCE, PROOF, Shared, TermEvent};
use crate::base::clock::Moment;
use crate::vault::physical::Commit;

/// Commits what is queued, until the term is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut first_sent = shared.now();
    loop {
        let now = shared.now();
        let wall = shared.parts.clock.unix();
        let (send, wake_at, is_open) = {
            let mut state = shared.lock();
            let send = state.committer.poll(now, wall, shared.parts.random.as_ref());
            let is_open =
                state.committer.stopped() == Some(Stopped::Deposed) && state.committer.is_in_flight();
            (send, state.committer.wake_at(), is_open)
        };
        if let Some(send) = send {
            if !send.again {
                first_sent = now;
            }
            commit(&shared, send, first_sent).await;
            continue;
        }
        let woken = shared.commit_wake.notified();
        match wake_at {
            Some(at) => {
                // A suspended batch is due already: look again soon, not at once.
                let pause = at.since(now).max(Duration::from_millis(10));
                tokio::time::timeout(pause, woken).await.ok();
            }
            // Deposed with a batch in flight: the journal must tell, or nobody will.
            None if is_open => {
                if tokio::time::timeout(PROOF, woken).await.is_err() {
                    let done = shared.lock().committer.give_up("the journal did not tell in time");
                    shared.finish(done);
                }
            }
            None => woken.await,
        }
    }
}

async fn commit(shared: &Shared, send: Send, first_sent: Moment) {
    let sent_at = shared.now();
    let batch = send.next.batch_id;
    let next = send.next.clone();
    let commit = shared.parts.backend.commit(Some(&send.expected), &send.next, &send.ops);
    tokio::pin!(commit);
    let left = PATIENCE.saturating_sub(sent_at.since(first_sent));
    let answer = match tokio::time::timeout(left, &mut commit).await {
        Ok(answer) => answer,
        Err(_) => {
            stall(shared, "no answer to a commit");
            commit.await
        }
    };
    let now = shared.now();
    match &answer {
        Commit::Committed => {
            let mut state = shared.lock();
            state.lease.committed(sent_at);
            state.proven = (sent_at, next);
            drop(state);
            shared.answered();
        }
        Commit::Fenced { current } => {
            shared.answered();
            if current.as_ref().is_none_or(|head| head.epoch != shared.parts.claim.epoch) {
                shared.events.send(TermEvent::SawHead(current.clone())).ok();
            }
        }
        Commit::Unknown { reason } => {
            shared.failed(shared.unavailable(reason));
            if now.since(first_sent) >= PATIENCE {
                stall(shared, reason);
            }
        }
        Commit::Refused(_) => shared.answered(),
    }
    let done = shared.lock().committer.on_commit(batch, answer, now, shared.parts.random.as_ref());
    shared.finish(done);
}

/// Those who wait learn that the storage does not answer; the batch stays in flight.
fn stall(shared: &Shared, reason: &str) {
    let error = shared.unavailable(reason);
    shared.failed(error.clone());
    let done = shared.lock().committer.stall(&error);
    shared.finish(done);
}
