//! [`Election`]: the facts, and what each event adds to them.

use std::time::Duration;

use super::active::Reign;
use super::claim::{Plan, Rise};
use super::event::{Cause, Context, Effect, ElectionSettings, Event};
use super::lock::LockView;
use super::seen::{RollbackSign, Seen};
use super::signs::Signs;
use crate::base::clock::Moment;
use crate::config::AcceptedRollback;
use crate::vault::physical::{ActiveRecord, Head, LockRecord, Swap, Versioned};

/// Where a node stands on the way to being active.
#[derive(Debug, Clone)]
pub enum Phase {
    /// Follows, or cannot do even that.
    Idle,
    /// The lock looks free: a quorum check is under way.
    Checking {
        /// The check.
        number: u64,
        /// The epoch that the lock named before it was sent.
        named: Option<u64>,
    },
    /// Writes itself into the lock.
    Taking(Plan),
    /// Looks at the lock once more before it claims.
    Looking {
        /// The read of the lock.
        number: u64,
        /// What is claimed.
        plan: Plan,
    },
    /// The claim is sent.
    Claiming(Plan),
    /// The claim holds: catches up, loads, waits.
    Rising(Rise),
    /// Serves, or hands over.
    Active(Reign),
}

/// Why the lock is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Take,
    Keep,
    Release,
    Transfer,
}

#[derive(Debug)]
pub(super) struct PendingSwap {
    pub(super) number: u64,
    pub(super) record: LockRecord,
    pub(super) purpose: Purpose,
}

/// The election of one node.
#[derive(Debug)]
pub struct Election {
    pub(super) settings: ElectionSettings,
    /// The rollback that a person has accepted for this process.
    pub(super) accepted: Option<AcceptedRollback>,
    pub(super) phase: Phase,
    pub(super) is_able: bool,
    pub(super) is_skewed: bool,
    /// The process ends: it never stands again.
    pub(super) is_retired: bool,
    pub(super) seen: Seen,
    /// What the last check said, if it was answered: whether there is a head.
    pub(super) has_head: Option<bool>,
    /// The newest epoch and when this node first saw it.
    pub(super) epoch_since: Option<(u64, Moment)>,
    pub(super) lock: LockView,
    pub(super) signs: Signs,
    pub(super) rolled_back: Option<String>,
    /// No attempt before this, after one that failed.
    pub(super) backoff_until: Moment,
    /// No attempt before this, after stepping down.
    pub(super) pause_until: Moment,
    /// The epoch that was renounced in a handover which did not move the head.
    pub(super) takes_back: Option<u64>,
    /// The newest epoch that this process has claimed.
    pub(super) claimed: Option<u64>,
    /// What a release of the lock may be believed for.
    pub(super) releases: Option<u64>,
    pub(super) swap: Option<PendingSwap>,
    /// The newest swap that was answered or asked for: reads that were sent before it are stale.
    last_swap: u64,
    pub(super) reading: Option<u64>,
    pub(super) next_look: Moment,
    pub(super) next_check: Moment,
    counter: u64,
    wake: Option<Moment>,
    pub(super) reason: String,
    pub(super) elections: u64,
    pub(super) promotions: u64,
}

impl Election {
    /// An election that knows nothing yet; the first [`Event::Tick`] starts it.
    pub fn new(settings: ElectionSettings) -> Self {
        Self {
            settings,
            accepted: None,
            phase: Phase::Idle,
            is_able: false,
            is_skewed: false,
            is_retired: false,
            seen: Seen::default(),
            has_head: None,
            epoch_since: None,
            lock: LockView::default(),
            signs: Signs::default(),
            rolled_back: None,
            backoff_until: Moment::default(),
            pause_until: Moment::default(),
            takes_back: None,
            claimed: None,
            releases: None,
            swap: None,
            last_swap: 0,
            reading: None,
            next_look: Moment::default(),
            next_check: Moment::default(),
            counter: 0,
            wake: None,
            reason: String::new(),
            elections: 0,
            promotions: 0,
        }
    }

    /// Lets this node claim the head that `accepted` names although the lock remembers a later epoch. What this process has
    /// seen itself is never overruled.
    pub fn accepting(mut self, accepted: Option<AcceptedRollback>) -> Self {
        self.accepted = accepted;
        self
    }

    /// Takes in what happened and says what to do.
    pub fn step(&mut self, event: Event, cx: Context<'_>) -> Vec<Effect> {
        let mut out = Vec::new();
        self.wake = None;
        self.take_in(event, &cx, &mut out);
        // One decision can make way for another; each moves on to a later phase, so that this ends.
        for _ in 0..4 {
            let before = out.len();
            match self.phase {
                Phase::Idle => self.consider(&cx, &mut out),
                Phase::Claiming(_) | Phase::Looking { .. } => self.press(&cx, &mut out),
                Phase::Rising(_) => self.rise(&cx, &mut out),
                Phase::Active(_) => self.reign(&cx, &mut out),
                Phase::Checking { .. } | Phase::Taking(_) => {}
            }
            if out.len() == before {
                break;
            }
        }
        out
    }

    /// When the next [`Event::Tick`] is due if nothing happens before.
    pub fn wake_at(&self) -> Option<Moment> {
        self.wake
    }

    /// Where the node stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The newest head seen.
    pub fn highest(&self) -> Option<&Head> {
        self.seen.highest()
    }

    /// The active node that the lock names; `None` where the head names another lock. A copy of a storage holds a copy of
    /// its lock: the node that it names leads the original, and must hear nothing from those who use the copy.
    pub fn named_active(&self) -> Option<&ActiveRecord> {
        let is_of_the_head = |head: &Head| self.settings.lock.as_ref().is_none_or(|lock| *head.lock == *lock);
        self.lock.active().filter(|_| self.highest().is_none_or(is_of_the_head))
    }

    /// The same, unless the head is already that of a later leader.
    pub fn leader(&self) -> Option<&ActiveRecord> {
        let is_current =
            |active: &&ActiveRecord| self.highest().is_none_or(|head| head.epoch <= active.epoch);
        self.named_active().filter(is_current)
    }

    /// The lock as last seen.
    pub fn lock(&self) -> &LockView {
        &self.lock
    }

    /// Whether the storage was found empty (true) or holding a vault; `None` before the first answer.
    pub fn is_empty(&self) -> Option<bool> {
        if self.seen.highest().is_some() { Some(false) } else { self.has_head.map(|has| !has) }
    }

    /// Why nothing is served although the storage answers: it went back in time.
    pub fn rolled_back(&self) -> Option<&str> {
        self.rolled_back.as_deref()
    }

    /// Whether the vault is unsealed here.
    pub fn is_able(&self) -> bool {
        self.is_able
    }

    /// Whether this node would take over if the lock were handed to it now.
    pub fn could_take_over(&self) -> bool {
        self.obstacle().is_none()
    }

    /// Whether it would do so of its own accord too: not for a while after it stepped down.
    pub fn could_stand(&self, now: Moment) -> bool {
        self.could_take_over() && now >= self.pause_until
    }

    /// Whether this node's wall clock was found not to be trusted.
    pub fn is_skewed(&self) -> bool {
        self.is_skewed
    }

    /// One sentence for people: what the node waits for.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Times that the lock was won, and that this node became active.
    pub fn counts(&self) -> (u64, u64) {
        (self.elections, self.promotions)
    }

    /// Whether this node is on its way out of being active and new requests are to be held.
    pub fn is_handing_over(&self) -> bool {
        matches!(&self.phase, Phase::Active(reign) if reign.is_holding())
    }

    fn take_in(&mut self, event: Event, cx: &Context<'_>, out: &mut Vec<Effect>) {
        match event {
            Event::Tick => {}
            Event::Lock { number, content } => self.saw_lock(number, content, cx, out),
            Event::LockAway => self.lost_lock(cx),
            Event::Nudged => self.look(out),
            Event::Swapped { number, outcome } => self.swapped(number, outcome, cx, out),
            Event::Checked { number, floor, head } => self.checked(number, floor.as_ref(), head, cx, out),
            Event::Saw(head) => self.saw_head(&head, cx, out),
            Event::Able(is_able) => self.is_able = is_able,
            Event::Skewed(is_skewed) => self.is_skewed = is_skewed,
            Event::ClaimAnswered { batch, answer } => self.claim_answered(batch, answer, cx, out),
            Event::CaughtUp { epoch, is_done } => self.caught_up(epoch, is_done, cx, out),
            Event::Promoted { epoch, is_done } => self.promoted(epoch, is_done, cx, out),
            Event::Probed { number, is_serving } => self.probed(number, is_serving, cx, out),
            Event::StorageReached { number, by } => self.storage_reached(number, by, cx, out),
            Event::Peer { identity, sign } => self.signs.note(&identity, sign),
            Event::HandOver { cause } => self.hand_over(cause, cx, out),
            Event::Successors { number, nodes } => self.found_successors(number, nodes, cx, out),
            Event::Prepared { identity, is_ready } => self.prepared(&identity, is_ready, cx, out),
            Event::Drained { commits } => self.drained(commits, cx, out),
            Event::Fenced { current } => self.fenced(current, cx, out),
        }
    }

    fn saw_lock(&mut self, number: u64, content: Option<Versioned>, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if self.reading == Some(number) {
            self.reading = None;
        }
        let is_other = content.as_ref().is_none_or(|c| c.record.holder != self.settings.identity);
        let believes_held = self.lock.holder() == Some(self.settings.identity.as_str());
        let is_stale = number != 0 && number < self.last_swap;
        if is_stale || (number == 0 && is_other && believes_held) {
            // What arrives was perhaps read before this node's own write: only a later read is believed.
            self.look(out);
            return;
        }
        self.lock.saw(content, self.settings.lease, cx.now);
        self.looked(number, cx, out);
    }

    fn lost_lock(&mut self, cx: &Context<'_>) {
        self.reading = None;
        self.lock.lost_sight(cx.now);
        self.look_failed(cx);
    }

    fn swapped(&mut self, number: u64, outcome: Swap, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Some(swap) = self.swap.take_if(|swap| swap.number == number) else { return };
        let is_written = match outcome {
            Swap::Swapped(version) => {
                self.lock.saw(Some(Versioned { version, record: swap.record }), self.settings.lease, cx.now);
                true
            }
            Swap::Conflict | Swap::Unknown { .. } => {
                self.look(out);
                false
            }
        };
        match swap.purpose {
            Purpose::Take => self.taken(is_written, cx, out),
            Purpose::Keep => self.kept(is_written, cx),
            Purpose::Transfer => self.transferred(is_written, cx, out),
            Purpose::Release => {}
        }
    }

    fn checked(
        &mut self,
        number: u64,
        floor: Option<&Head>,
        head: Option<Option<Head>>,
        cx: &Context<'_>,
        out: &mut Vec<Effect>,
    ) {
        if self.rolled_back.is_some() {
            return;
        }
        if let Some(head) = &head {
            if let Err(sign) = self.seen.checked(floor, head.as_ref()) {
                self.roll_back(&sign, cx, out);
                return;
            }
            self.has_head = Some(head.is_some());
            self.note_epoch(cx.now);
        }
        self.check_answered(number, head, cx, out);
    }

    fn saw_head(&mut self, head: &Head, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if self.rolled_back.is_some() {
            return;
        }
        if !self.seen.saw(head) {
            // Two heads contradict each other: a quorum check tells which one stands.
            let number = self.number();
            out.push(Effect::Check { number });
        }
        self.note_epoch(cx.now);
    }

    fn fenced(&mut self, current: Option<Head>, cx: &Context<'_>, out: &mut Vec<Effect>) {
        match current {
            Some(head) => self.saw_head(&head, cx, out),
            None => {
                let number = self.number();
                out.push(Effect::Check { number });
            }
        }
    }

    pub(super) fn roll_back(&mut self, sign: &RollbackSign, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let reason = sign.to_string();
        self.leave_office(cx, out);
        // If this node holds the lock, its release is what remembers the lost epochs for the processes to come.
        self.releases = self.epoch().max(self.lock.epoch());
        self.rolled_back = Some(reason.clone());
        out.push(Effect::RolledBack { reason });
    }

    /// Drops whatever office this node has or is about to have, at once and without a word to anybody.
    pub(super) fn leave_office(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Active(reign) => {
                out.push(Effect::Renounce);
                out.push(Effect::Demote);
                self.handover_ended(&reign, cx, out);
            }
            Phase::Rising(_) => out.push(Effect::Demote),
            _ => {}
        }
        self.releases = None;
        self.back_off(cx);
    }

    pub(super) fn note_epoch(&mut self, now: Moment) {
        if let Some(head) = self.seen.highest()
            && self.epoch_since.is_none_or(|(epoch, _)| epoch != head.epoch)
        {
            self.epoch_since = Some((head.epoch, now));
        }
    }

    pub(super) fn epoch(&self) -> Option<u64> {
        self.seen.highest().map(|head| head.epoch)
    }

    pub(super) fn is_me(&self, identity: &str) -> bool {
        self.settings.identity == identity
    }

    pub(super) fn holds_lock(&self) -> bool {
        self.lock.holder().is_some_and(|holder| self.is_me(holder))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Asks for a step at `moment` at the latest.
    pub(super) fn wake_by(&mut self, moment: Moment) {
        self.wake = Some(self.wake.map_or(moment, |wake| wake.min(moment)));
    }

    /// Reads the lock, unless a read is under way.
    pub(super) fn look(&mut self, out: &mut Vec<Effect>) {
        if self.reading.is_none() && self.settings.lock.is_some() {
            let number = self.number();
            self.reading = Some(number);
            out.push(Effect::ReadLock { number });
        }
    }

    /// Writes the lock, unless a write is under way; whether it does.
    pub(super) fn write_lock(&mut self, record: LockRecord, purpose: Purpose, out: &mut Vec<Effect>) -> bool {
        if self.swap.is_some() || self.settings.lock.is_none() {
            return false;
        }
        let number = self.number();
        self.last_swap = number;
        out.push(Effect::Swap { number, expected: self.lock.version().cloned(), record: record.clone() });
        self.swap = Some(PendingSwap { number, record, purpose });
        true
    }

    /// Stands again after a random part of a lease.
    pub(super) fn back_off(&mut self, cx: &Context<'_>) {
        let most = u64::try_from(self.settings.lease.as_millis()).unwrap_or(u64::MAX);
        let delay = Duration::from_millis(most / 6 + cx.random.below(most - most / 6));
        self.backoff_until = cx.now.plus(delay);
    }

    pub(super) fn after_handover(&mut self, cause: Cause, cx: &Context<'_>) {
        match cause {
            Cause::StepDown => self.pause_until = cx.now.plus(super::handover::STEP_DOWN_PAUSE),
            Cause::Shutdown => self.is_retired = true,
            Cause::Wish => {}
        }
    }
}
