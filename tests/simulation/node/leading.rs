//! What a node does by and by while it takes over, leads and hands over.

use std::time::Duration;

use holdfast::vault::ha::committer::Stopped;
use holdfast::vault::ha::election::Event as News;

use super::Node;
use super::answers::Asked;
use crate::storage::Change;
use crate::world::event::{Ask, View};

/// How long a deposed node looks for the outcome of its last batch.
const PROOF: Duration = Duration::from_secs(2);

impl Node {
    pub(super) fn catch_up(&mut self, view: &View<'_>) {
        let Some((claim, until)) = &self.catching_up else { return };
        let (epoch, is_done) = (claim.epoch, self.position >= claim.seq);
        if is_done || *until <= view.now {
            self.catching_up = None;
            self.news(News::CaughtUp { epoch, is_done }, view);
        }
    }

    pub(super) fn hand_over(&mut self, view: &View<'_>) {
        if let Some((number, until, _)) = &self.successors
            && *until <= view.now
        {
            let number = *number;
            let nodes = self.successors.take().map(|(_, _, nodes)| nodes).unwrap_or_default();
            self.news(News::Successors { number, nodes }, view);
        }
        if self.holding {
            let commits_done = self.committer.as_ref().is_some_and(|c| c.queue_len() == 0);
            if self.closing && commits_done {
                self.news(News::Drained { commits: true }, view);
            } else if !self.closing && self.proofs.is_empty() && !self.is_reading() {
                self.news(News::Drained { commits: false }, view);
            }
        }
    }

    pub(super) fn commit(&mut self, view: &View<'_>) {
        let Some(committer) = &mut self.committer else { return };
        if committer.stopped() == Some(Stopped::Deposed) && committer.is_in_flight() {
            // The journal tells soon, or nobody will.
            let since = *self.deposed_at.get_or_insert(view.now);
            if view.now.since(since) > PROOF {
                let done = committer.give_up("no proof");
                self.finish(done);
                return;
            }
        }
        if let Some(send) = committer.poll(view.now, view.wall, view.random) {
            let list = self.segments.draft(send.expected.seq).filter(|_| view.semantics.is_object());
            let expected = send.expected.clone();
            let change = Change {
                after: Some(expected.clone()),
                next: send.next.clone(),
                ops: send.ops.clone(),
                list: list.clone(),
            };
            let ask = Ask::Commit { expected, change };
            self.ask(Asked::Commit { send, list, sent_at: view.now }, ask);
        }
    }
}
