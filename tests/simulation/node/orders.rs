//! What the election orders.

use std::time::Duration;

use holdfast::vault::ha::committer::{Committer, CommitterSettings, Stopped};
use holdfast::vault::ha::election::{Context, Effect as Order, Event as News};
use holdfast::vault::ha::readlease::{ReadLease, WINDOW};
use holdfast::vault::physical::Head;

use super::answers::Asked;
use super::{Message, Node, limits, node_of};
use crate::storage::Change;
use crate::variant::Variant;
use crate::world::event::{Ask, Effect, View};

/// How long memory may take to reach a claim.
const CATCH_UP: Duration = Duration::from_secs(4);

impl Node {
    pub(super) fn order(&mut self, order: Order, view: &View<'_>) {
        match order {
            Order::ReadLock { number } => self.ask(Asked::ReadLock { number }, Ask::ReadLock),
            Order::Swap { number, expected, record } => {
                self.ask(Asked::Swap { number }, Ask::Swap { expected, next: record });
            }
            Order::Check { number } => {
                let floor = self.election.highest().cloned();
                self.ask(Asked::Check { number, floor }, Ask::Check);
            }
            Order::Claim { expected, next } => {
                let change =
                    Change { after: Some(expected.clone()), next: next.clone(), ops: Vec::new(), list: None };
                self.ask(Asked::Claim(next), Ask::Commit { expected, change });
            }
            Order::CatchUp { claim } => self.catching_up = Some((claim, view.now.plus(CATCH_UP))),
            Order::Promote { claim } => self.promote(claim, view),
            Order::Serve => {
                self.serving = true;
                self.holding = false;
            }
            Order::Demote => self.demote(),
            Order::Suspend(suspended) => {
                if let Some(committer) = &mut self.committer {
                    committer.suspend(suspended);
                }
            }
            Order::Probe { number } => self.ask(Asked::Probe { number }, Ask::Check),
            Order::AskStorage { number } => self.news(News::StorageReached { number, by: None }, view),
            Order::FindSuccessors { number } => {
                self.successors = Some((number, view.now.plus(Duration::from_millis(100)), Vec::new()));
                self.out.push(Effect::Wake { at: view.now.plus(Duration::from_millis(101)) });
                for to in (0..self.nodes).filter(|to| *to != self.id) {
                    self.out.push(Effect::Tell { to, message: Message::WhoCan { number } });
                }
            }
            Order::Prepare { identity } => {
                if let (Some(to), Some(committer)) = (node_of(&identity), &self.committer) {
                    let head = committer.acknowledged().clone();
                    self.out.push(Effect::Tell { to, message: Message::Prepare { head } });
                }
            }
            Order::Hold => self.holding = true,
            Order::Resume => {
                self.holding = false;
                self.closing = false;
                if let Some(committer) = &mut self.committer {
                    committer.resume();
                }
            }
            Order::CloseCommits => {
                self.closing = true;
                if let Some(committer) = &mut self.committer {
                    committer.stop(Stopped::HandingOver);
                }
            }
            Order::Renounce => self.lease.renounce(),
            Order::Tell { identity, .. } => {
                if let Some(to) = node_of(&identity) {
                    self.out.push(Effect::Tell { to, message: Message::Renounced });
                }
            }
            Order::HandoverEnded(_) | Order::RolledBack { .. } => {}
        }
    }

    fn promote(&mut self, claim: Head, view: &View<'_>) {
        let epoch = claim.epoch;
        self.committer = Some(Committer::new(CommitterSettings::default(), limits(), claim, view.now));
        self.lease = ReadLease::new(WINDOW);
        self.check_in_flight = false;
        self.deposed_at = None;
        self.news(News::Promoted { epoch, is_done: true }, view);
        if self.variant == Variant::NoWaitAfterClaim {
            let cx = Context {
                now: view.now.plus(Duration::from_millis(600)),
                time: view.wall,
                random: view.random,
            };
            for order in self.election.step(News::Tick, cx) {
                self.order(order, view);
            }
        }
    }

    fn demote(&mut self) {
        self.serving = false;
        self.holding = false;
        self.closing = false;
        if let Some(mut committer) = self.committer.take() {
            let mut done = committer.stop(Stopped::Deposed);
            done.extend(committer.give_up("demoted"));
            self.finish(done);
        }
        for proof in std::mem::take(&mut self.proofs) {
            self.refuse(proof);
        }
    }
}
