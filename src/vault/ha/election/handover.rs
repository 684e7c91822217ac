//! Handing over: choose, let prepare, hold, finish, renounce, transfer by name, see the head move.

use std::time::Duration;

use super::active::Reign;
use super::event::{Cause, Context, Effect, Successor};
use super::machine::{Election, Phase, Purpose};
use crate::base::clock::Moment;
use crate::vault::ha::settings::pod_of;

/// How long the node that stepped down does not stand.
pub(super) const STEP_DOWN_PAUSE: Duration = Duration::from_secs(10);

/// How long to look for a successor and let one prepare.
const CHOOSING: Duration = Duration::from_secs(3);

/// How long requests in flight may take to finish.
const DRAINING: Duration = Duration::from_millis(500);

/// How long commits in flight may take to finish.
const CLOSING: Duration = Duration::from_secs(1);

/// How long the head may take to move after the transfer.
const WAITING: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Asks who could take over.
    Finding { number: u64 },
    /// Lets this peer prepare; the others come after it.
    Preparing { identity: String, others: Vec<String> },
    /// Waits for running requests.
    Draining,
    /// Waits for commits.
    Closing,
    /// Renounced; writes the transfer into the lock.
    Transferring,
    /// Waits for the head to move.
    Waiting,
    /// Shutting down, and no successor has claimed: the lock is free for all.
    Released,
}

/// A handover under way.
#[derive(Debug, Clone)]
pub(super) struct Handover {
    cause: Cause,
    to: Option<String>,
    stage: Stage,
    deadline: Moment,
    successor: Option<String>,
}

impl Handover {
    /// Whether new requests are held.
    pub(super) fn is_holding(&self) -> bool {
        !matches!(self.stage, Stage::Finding { .. } | Stage::Preparing { .. })
    }
}

impl Election {
    /// Hands over if this node is active.
    pub(super) fn hand_over(&mut self, cause: Cause, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if cause == Cause::Shutdown {
            self.is_retired = true;
        }
        match &mut self.phase {
            Phase::Active(Reign { handover: Some(handover), .. }) => {
                // One is under way: it goes on, for the graver cause.
                if cause == Cause::Shutdown {
                    handover.cause = cause;
                }
            }
            Phase::Active(_) => self.begin_handover(cause, None, cx, out),
            _ => out.push(Effect::HandoverEnded(Err("this node is not the active one".to_owned()))),
        }
    }

    pub(super) fn begin_handover(
        &mut self,
        cause: Cause,
        to: Option<String>,
        cx: &Context<'_>,
        out: &mut Vec<Effect>,
    ) {
        let number = self.number();
        let is_alone = self.settings.lock.is_none();
        let is_for_all = self.has_no_peers() && to.is_none();
        let Phase::Active(reign) = &mut self.phase else { return };
        if is_alone && cause != Cause::Shutdown {
            out.push(Effect::HandoverEnded(Err("there is no other node".to_owned())));
            return;
        }
        let deadline = cx.now.plus(CHOOSING);
        let stage = Stage::Finding { number };
        reign.handover = Some(Handover { cause, to, stage, deadline, successor: None });
        if is_for_all {
            self.without_successor(cx, out);
        } else {
            out.push(Effect::FindSuccessors { number });
        }
    }

    /// Whether this node hears of no other one, so that it cannot choose who leads after it.
    fn has_no_peers(&self) -> bool {
        self.settings.cluster_addr.is_empty()
    }

    fn handover(&mut self) -> Option<&mut Handover> {
        match &mut self.phase {
            Phase::Active(reign) => reign.handover.as_mut(),
            _ => None,
        }
    }

    pub(super) fn found_successors(
        &mut self,
        number: u64,
        mut nodes: Vec<Successor>,
        cx: &Context<'_>,
        out: &mut Vec<Effect>,
    ) {
        let format = self.seen.highest().map_or(0, |head| head.format);
        let leaving = self.lock.record().and_then(|record| record.leaving.clone());
        let me = self.settings.identity.clone();
        let Some(handover) = self.handover().filter(|h| h.stage == Stage::Finding { number }) else { return };
        let to = handover.to.clone();
        nodes.retain(|node| {
            let leaves =
                leaving.as_deref().is_some_and(|l| l == node.identity || l == pod_of(&node.identity));
            let is_wanted = to.as_deref().is_none_or(|to| to == pod_of(&node.identity));
            node.is_able && node.identity != me && node.format >= format && !leaves && is_wanted
        });
        // The most caught-up first; those that rest last, but rather one of them than nobody.
        nodes.sort_by_key(|node| {
            let position = node.head.as_ref().map_or((0, 0), |head| head.position());
            (node.is_resting, std::cmp::Reverse(position))
        });
        let mut identities = nodes.into_iter().map(|node| node.identity);
        match identities.next() {
            Some(identity) => {
                handover.stage =
                    Stage::Preparing { identity: identity.clone(), others: identities.collect() };
                out.push(Effect::Prepare { identity });
            }
            None => self.without_successor(cx, out),
        }
    }

    pub(super) fn prepared(
        &mut self,
        identity: &str,
        is_ready: bool,
        cx: &Context<'_>,
        out: &mut Vec<Effect>,
    ) {
        let Some(handover) = self.handover() else { return };
        let Stage::Preparing { identity: asked, others } = &mut handover.stage else { return };
        if asked != identity {
            return;
        }
        if is_ready {
            handover.successor = Some(identity.to_owned());
            self.hold(cx, out);
        } else if others.is_empty() {
            self.without_successor(cx, out);
        } else {
            let next = others.remove(0);
            asked.clone_from(&next);
            out.push(Effect::Prepare { identity: next });
        }
    }

    /// No node is known to be able to take over. Only a process that ends goes on, or one that cannot know of any: whoever
    /// takes the lock then leads.
    fn without_successor(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let has_no_peers = self.has_no_peers();
        let Some(handover) = self.handover() else { return };
        if handover.cause == Cause::Shutdown || (has_no_peers && handover.to.is_none()) {
            handover.successor = None;
            self.hold(cx, out);
        } else {
            self.give_up_handover("no other node is able to take over", out);
        }
    }

    /// Only before anything was renounced.
    fn give_up_handover(&mut self, why: &str, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &mut self.phase else { return };
        let was_holding = reign.handover.take().is_some_and(|handover| handover.is_holding());
        if was_holding {
            out.push(Effect::Resume);
        }
        out.push(Effect::HandoverEnded(Err(why.to_owned())));
    }

    fn hold(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if self.settings.lock.is_some() && (self.lock.is_away() || !self.holds_lock()) {
            let is_ending = self.handover().is_some_and(|handover| handover.cause == Cause::Shutdown);
            if !is_ending {
                // What cannot be transferred must not be renounced.
                self.give_up_handover("the lock cannot be reached or is not held", out);
                return;
            }
        }
        let Some(handover) = self.handover() else { return };
        handover.stage = Stage::Draining;
        handover.deadline = cx.now.plus(DRAINING);
        out.push(Effect::Hold);
    }

    pub(super) fn drained(&mut self, commits: bool, cx: &Context<'_>, out: &mut Vec<Effect>) {
        match self.handover().map(|handover| handover.stage.clone()) {
            Some(Stage::Draining) => self.close_commits(cx, out),
            Some(Stage::Closing) if commits => self.transfer(cx, out),
            _ => {}
        }
    }

    fn close_commits(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Some(handover) = self.handover() else { return };
        handover.stage = Stage::Closing;
        handover.deadline = cx.now.plus(CLOSING);
        out.push(Effect::CloseCommits);
    }

    fn transfer(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Some(handover) = self.handover() else { return };
        handover.stage = Stage::Transferring;
        handover.deadline = cx.now.plus(WAITING);
        out.push(Effect::Renounce);
        self.write_transfer(out);
    }

    fn write_transfer(&mut self, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &self.phase else { return };
        let (epoch, successor) = (reign.epoch(), reign.handover.as_ref().and_then(|h| h.successor.clone()));
        if self.holds_lock() {
            let record = self.lock.released(Some(epoch), successor.as_deref(), Some(epoch));
            self.write_lock(record, Purpose::Transfer, out);
        }
    }

    pub(super) fn transferred(&mut self, is_written: bool, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &mut self.phase else { return };
        let epoch = reign.epoch();
        let Some(handover) = &mut reign.handover else { return };
        if !is_written || handover.stage != Stage::Transferring {
            return;
        }
        handover.stage = Stage::Waiting;
        handover.deadline = cx.now.plus(WAITING);
        if let Some(identity) = handover.successor.clone() {
            out.push(Effect::Tell { identity, epoch });
        }
    }

    /// Moves a handover on when its time is over.
    pub(super) fn advance_handover(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Some(handover) = self.handover() else { return };
        let (stage, deadline, cause) = (handover.stage.clone(), handover.deadline, handover.cause);
        if stage == Stage::Transferring && self.swap.is_none() && self.reading.is_none() {
            self.write_transfer(out);
        }
        if stage == Stage::Released {
            return;
        }
        if cx.now < deadline {
            self.wake_by(deadline);
            return;
        }
        match stage {
            Stage::Finding { .. } | Stage::Preparing { .. } => self.without_successor(cx, out),
            Stage::Draining => self.close_commits(cx, out),
            Stage::Closing => self.transfer(cx, out),
            Stage::Transferring | Stage::Waiting | Stage::Released if cause == Cause::Shutdown => {
                self.release_for_all(out);
            }
            Stage::Transferring | Stage::Waiting | Stage::Released => self.take_back(cx, out),
        }
    }

    /// The process ends and the successor did not claim: whoever is able may.
    fn release_for_all(&mut self, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &mut self.phase else { return };
        let epoch = reign.epoch();
        if let Some(handover) = &mut reign.handover {
            handover.stage = Stage::Released;
        }
        if self.holds_lock() || self.lock.holder().is_none() {
            let record = self.lock.released(Some(epoch), None, Some(epoch));
            self.write_lock(record, Purpose::Release, out);
        }
        out.push(Effect::HandoverEnded(Err("no other node took over in time".to_owned())));
    }

    /// The head has not moved: this node takes the lock back and claims anew. The renounced epoch stays renounced.
    fn take_back(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &mut self.phase else { return };
        let epoch = reign.epoch();
        let why = match reign.handover.take().and_then(|handover| handover.successor) {
            Some(_) => "the successor did not claim in time",
            None => "no other node took over in time",
        };
        out.push(Effect::HandoverEnded(Err(why.to_owned())));
        out.push(Effect::Demote);
        self.phase = Phase::Idle;
        self.takes_back = Some(epoch);
        self.releases = Some(epoch);
        self.backoff_until = cx.now;
    }

    /// The reign has ended by somebody else's claim or by force: tells who waits for the handover.
    pub(super) fn handover_ended(&mut self, reign: &Reign, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Some(handover) = &reign.handover else { return };
        self.after_handover(handover.cause, cx);
        let has_moved = self.epoch().is_some_and(|epoch| epoch > reign.epoch());
        let result =
            if has_moved { Ok(()) } else { Err("the leadership ended before the handover did".to_owned()) };
        out.push(Effect::HandoverEnded(result));
    }
}
