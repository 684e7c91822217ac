//! From the lock to serving: the claim, catching up, the wait.

use std::sync::Arc;
use std::time::Duration;

use super::active::Reign;
use super::event::{Context, Effect};
use super::machine::{Election, Phase};
use crate::base::clock::Moment;
use crate::vault::ha::readlease::WAIT;
use crate::vault::physical::{BatchId, Commit, Head, LockName};

/// Pause before a claim with an unknown outcome is sent again.
const RESEND: Duration = Duration::from_millis(100);

/// Most times that a claim is made anew because the old active still commits.
const ATTEMPTS: u32 = 50;

/// A claim to be made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The newest head of the epoch that was seen when the lock was won.
    expected: Head,
    /// The epoch that the node before renounced.
    renounced: Option<u64>,
    /// An epoch that the claim must be above although the head is below it: an accepted rollback lost it.
    above: u64,
    since: Moment,
    attempts: u32,
    /// The claim, once it was sent.
    next: Option<Head>,
    resend_at: Option<Moment>,
}

impl Plan {
    pub(super) fn new(expected: Head, renounced: Option<u64>, now: Moment) -> Self {
        Self { expected, renounced, above: 0, since: now, attempts: 0, next: None, resend_at: None }
    }

    /// Claims an epoch above `named` too, so that no epoch is ever led twice.
    pub(super) fn above(self, named: Option<u64>) -> Self {
        Self { above: named.unwrap_or(0), ..self }
    }

    /// Whether somebody may still answer reads in the epoch that the claim replaces.
    fn must_wait(&self) -> bool {
        self.expected.epoch != 0 && self.renounced != Some(self.expected.epoch)
    }
}

/// A claim that holds.
#[derive(Debug, Clone)]
pub struct Rise {
    pub(super) claim: Head,
    answered: Moment,
    must_wait: bool,
    is_caught_up: bool,
    is_promoted: bool,
}

impl Election {
    /// The lock was written, or not.
    pub(super) fn taken(&mut self, is_written: bool, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Taking(plan) = &self.phase else { return };
        let plan = plan.clone();
        if is_written {
            self.elections += 1;
            self.look_again(plan, out);
        } else {
            // Another was quicker, or the outcome is unknown: the lock tells.
            self.phase = Phase::Idle;
            self.backoff_until = cx.now.plus(RESEND);
        }
    }

    fn look_again(&mut self, plan: Plan, out: &mut Vec<Effect>) {
        let number = self.number();
        self.phase = Phase::Looking { number, plan };
        out.push(Effect::ReadLock { number });
    }

    /// The lock was read: if that was the look before the claim, it is sent.
    pub(super) fn looked(&mut self, number: u64, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Looking { number: asked, plan } = &self.phase else { return };
        if *asked != number {
            return;
        }
        let plan = plan.clone();
        if self.holds_lock() && self.obstacle().is_none() {
            self.send_claim(plan, cx, out);
        } else {
            self.fail_claim(&plan, cx);
        }
    }

    /// The look failed: it is tried again until the lock that was won has run out.
    pub(super) fn look_failed(&mut self, cx: &Context<'_>) {
        if let Phase::Looking { plan, .. } = &mut self.phase {
            plan.resend_at = Some(cx.now.plus(RESEND));
        }
    }

    pub(super) fn send_claim(&mut self, mut plan: Plan, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let next = plan.next.take().unwrap_or_else(|| Head {
            cluster: Arc::clone(&plan.expected.cluster),
            lock: Arc::new(self.settings.lock.clone().unwrap_or_else(LockName::none)),
            epoch: plan.expected.epoch.max(plan.above) + 1,
            seq: plan.expected.seq + 1,
            batch_id: BatchId::new(cx.random),
            node: self.settings.identity.as_str().into(),
            format: plan.expected.format,
            time: cx.time.max(plan.expected.time),
        });
        "claims the leadership".clone_into(&mut self.reason);
        out.push(Effect::Claim { expected: plan.expected.clone(), next: next.clone() });
        plan.next = Some(next);
        plan.resend_at = None;
        self.phase = Phase::Claiming(plan);
    }

    /// Sends a claim again whose outcome is unknown, after another look at the lock.
    pub(super) fn press(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let (Phase::Claiming(plan) | Phase::Looking { plan, .. }) = &self.phase else { return };
        let plan = plan.clone();
        if self.obstacle().is_some() || self.lock.holder().is_some_and(|holder| !self.is_me(holder)) {
            self.fail_claim(&plan, cx);
            return;
        }
        let Some(resend_at) = plan.resend_at else { return };
        if cx.now.since(plan.since) > self.settings.lease {
            self.fail_claim(&plan, cx);
        } else if cx.now < resend_at {
            self.wake_by(resend_at);
        } else if self.settings.lock.is_some() {
            self.look_again(Plan { resend_at: None, ..plan }, out);
        } else {
            self.send_claim(plan, cx, out);
        }
    }

    pub(super) fn claim_answered(
        &mut self,
        batch: BatchId,
        answer: Commit,
        cx: &Context<'_>,
        out: &mut Vec<Effect>,
    ) {
        let (Phase::Claiming(plan) | Phase::Looking { plan, .. }) = &self.phase else { return };
        let Some(next) = plan.next.clone().filter(|next| next.batch_id == batch) else { return };
        let mut plan = plan.clone();
        match answer {
            Commit::Committed => self.claimed(next, &plan, cx, out),
            Commit::Unknown { .. } => {
                plan.resend_at = Some(cx.now.plus(RESEND));
                self.phase = Phase::Claiming(plan);
            }
            Commit::Fenced { current: Some(current) } if current == next => {
                self.claimed(next, &plan, cx, out)
            }
            Commit::Fenced { current: Some(current) } => {
                let is_same_epoch = current.cluster == next.cluster && current.epoch == plan.expected.epoch;
                let is_later = current.seq > plan.expected.seq || current == plan.expected;
                if is_same_epoch && is_later && plan.attempts < ATTEMPTS {
                    // The old active still commits. Our claim has lost its place for good, so a new one may be made.
                    if current != plan.expected {
                        plan.next = None;
                    }
                    let again = Plan { expected: current, attempts: plan.attempts + 1, ..plan };
                    if self.settings.lock.is_some() {
                        self.look_again(again, out)
                    } else {
                        self.send_claim(again, cx, out)
                    }
                    return;
                }
                self.fail_claim(&plan, cx);
                self.saw_claimer(current, cx, out);
            }
            Commit::Fenced { current: None } | Commit::Refused(_) => {
                self.fail_claim(&plan, cx);
                let number = self.number();
                out.push(Effect::Check { number });
            }
        }
    }

    fn saw_claimer(&mut self, current: Head, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if self.seen.saw(&current) {
            self.note_epoch(cx.now);
        } else {
            let number = self.number();
            out.push(Effect::Check { number });
        }
    }

    /// Gives the attempt up. The lock may be released for the epoch that it was won against: its holder was then found
    /// to be gone.
    pub(super) fn fail_claim(&mut self, plan: &Plan, cx: &Context<'_>) {
        self.releases = Some(plan.expected.epoch.max(plan.above));
        self.phase = Phase::Idle;
        self.back_off(cx);
    }

    fn claimed(&mut self, claim: Head, plan: &Plan, cx: &Context<'_>, out: &mut Vec<Effect>) {
        self.seen.saw(&claim);
        self.note_epoch(cx.now);
        self.takes_back = None;
        self.claimed = Some(claim.epoch);
        "catches up".clone_into(&mut self.reason);
        out.push(Effect::CatchUp { claim: claim.clone() });
        self.phase = Phase::Rising(Rise {
            claim,
            answered: cx.now,
            must_wait: plan.must_wait(),
            is_caught_up: false,
            is_promoted: false,
        });
    }

    pub(super) fn caught_up(&mut self, epoch: u64, is_done: bool, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Rising(rise) = &mut self.phase else { return };
        if rise.claim.epoch != epoch || rise.is_caught_up {
            return;
        }
        if !is_done {
            self.give_up_rise(cx, out);
            return;
        }
        rise.is_caught_up = true;
        "loads what an active node needs".clone_into(&mut self.reason);
        out.push(Effect::Promote { claim: rise.claim.clone() });
    }

    pub(super) fn promoted(&mut self, epoch: u64, is_done: bool, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Rising(rise) = &mut self.phase else { return };
        if rise.claim.epoch != epoch {
            return;
        }
        rise.is_promoted = is_done;
        if !is_done {
            self.give_up_rise(cx, out);
        }
    }

    fn give_up_rise(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Rising(rise) = &self.phase else { return };
        let epoch = rise.claim.epoch;
        out.push(Effect::Demote);
        self.phase = Phase::Idle;
        // Nothing was served in this epoch.
        self.releases = Some(epoch);
        self.back_off(cx);
    }

    /// Serves once everything is ready and the wait is over.
    pub(super) fn rise(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Rising(rise) = &self.phase else { return };
        let (claim, answered) = (rise.claim.clone(), rise.answered);
        if self.epoch().is_some_and(|epoch| epoch > claim.epoch) {
            self.leave_office(cx, out);
            return;
        }
        let is_late = cx.now.since(answered) > self.settings.lease.max(WAIT * 2);
        if self.obstacle().is_some() || is_late {
            self.give_up_rise(cx, out);
            return;
        }
        let serve_at = answered.plus(if rise.must_wait { WAIT } else { Duration::ZERO });
        if rise.is_promoted && cx.now >= serve_at {
            self.promotions += 1;
            self.reason.clear();
            out.push(Effect::Serve);
            self.phase = Phase::Active(Reign::new(claim, cx.now));
            return;
        }
        self.wake_by(if rise.is_promoted { serve_at } else { answered.plus(self.settings.lease) });
    }
}
