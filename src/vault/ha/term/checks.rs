//! The loop that checks: a quorum check when a reader needs one, and probes while the storage does not answer.

use std::sync::Arc;

use crate::vault::ha::readlease::CheckNumber;
use super::{PATIENCE, PROBE, Shared, TermEvent};
use crate::vault::physical::Head;

/// Checks when somebody waits for it, until the term is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let next = {
            let mut state = shared.lock();
            let is_wanted = state.wanted.is_some_and(|wanted| !state.lease.is_confirmed(wanted));
            if !is_wanted && state.health.failing.is_none() || state.lease.is_renounced() || state.is_over() {
                None
            } else {
                state.checks += 1;
                Some((state.lease.send_check(), state.committer.acknowledged().clone()))
            }
        };
        match next {
            Some((number, floor)) => check(&shared, number, &floor).await,
            None => shared.check_wake.notified().await,
        }
    }
}

async fn check(shared: &Shared, number: CheckNumber, floor: &Head) {
    let sent_at = shared.now();
    let answer = tokio::time::timeout(PATIENCE, shared.parts.backend.check()).await;
    let answer = answer.unwrap_or_else(|_| Err(shared.unavailable("no answer to a quorum check")));
    match answer {
        Ok(Some(head)) if is_ours(&head, floor) => {
            let mut state = shared.lock();
            state.lease.check_succeeded(number, sent_at);
            state.proven = (sent_at, floor.clone());
            drop(state);
            shared.answered();
            shared.bump();
        }
        Ok(other) => {
            shared.answered();
            shared.events.send(TermEvent::SawHead(other)).ok();
            // The election ends this term; until it does there is nothing to hurry for.
            tokio::time::sleep(PROBE).await;
        }
        Err(error) => {
            shared.failed(error);
            tokio::time::sleep(PROBE).await;
        }
    }
}

/// Whether the stored head belongs to this term: its own epoch, not older than what was acknowledged, and if it is as
/// old, the very same.
fn is_ours(head: &Head, floor: &Head) -> bool {
    head.cluster == floor.cluster
        && head.epoch == floor.epoch
        && (head.seq > floor.seq || head.batch_id == floor.batch_id && head.seq == floor.seq)
}
