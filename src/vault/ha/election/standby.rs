//! Standing: when a node that is not active goes for the lock.

use std::time::Duration;

use super::claim::Plan;
use super::event::{Context, Effect};
use super::lock::{Candidacy, Freedom};
use super::machine::{Election, Phase, Purpose};
use super::seen::RollbackSign;
use crate::base::clock::Moment;
use crate::vault::ha::settings::{pod_and_uid_of, pod_of};
use crate::vault::physical::{Head, LockName};

/// An epoch younger than this is not taken over on evidence: a node that just came up may still be starting.
const YOUNG: Duration = Duration::from_secs(10);

/// Time between checks while the storage is empty or does not answer.
const RECHECK: Duration = Duration::from_millis(500);

impl Election {
    /// What, apart from time and the lock, keeps this node from standing.
    pub(super) fn obstacle(&self) -> Option<String> {
        if let Some(reason) = &self.rolled_back {
            return Some(format!("the storage went back in time: {reason}"));
        }
        if self.is_retired {
            return Some("this process is ending".to_owned());
        }
        let Some(head) = self.seen.highest() else {
            return Some(match self.has_head {
                Some(false) => "the vault is not initialised".to_owned(),
                _ => "the storage has not answered yet".to_owned(),
            });
        };
        if !self.is_able {
            return Some("the vault is sealed".to_owned());
        }
        if head.format > self.settings.format {
            let (is, can) = (head.format, self.settings.format);
            return Some(format!("the storage is in format {is}, and this program writes only up to {can}"));
        }
        if let Some(reason) = self.foreign_lock(head).or_else(|| self.is_overtaken(head)) {
            return Some(reason);
        }
        if self.is_skewed {
            return Some(
                "this node's wall clock is off, by its own steady clock or by those of its peers".to_owned(),
            );
        }
        let leaving = self.lock.record().and_then(|record| record.leaving.as_deref());
        if leaving.is_some_and(|leaving| self.is_me(leaving) || pod_of(&self.settings.identity) == leaving) {
            return Some("this node is about to be deleted".to_owned());
        }
        None
    }

    /// Whether the head names another lock than this node's, none included: whoever leads there is not shut out by ours.
    fn foreign_lock(&self, head: &Head) -> Option<String> {
        let none = LockName::none();
        let own = self.settings.lock.as_ref().unwrap_or(&none);
        if *head.lock == *own || self.settings.adopt.as_deref() == Some(&*head.cluster) {
            return None;
        }
        let (theirs, cluster) = (&head.lock, &head.cluster);
        Some(match self.settings.lock {
            Some(_) => format!(
                "the cluster uses the lock {theirs} and this node {own}; to move it, let `adopt` name cluster {cluster}"
            ),
            None => format!(
                "the cluster uses the lock {theirs} and this node none; leave `ha_enabled` at true, or, to use this node alone, end all others and let `adopt` name cluster {cluster}"
            ),
        })
    }

    /// Whether another server has taken the storage over from this one, and no lock says whose turn it is: the two
    /// would take it from each other for ever, so the one that started later keeps it.
    fn is_overtaken(&self, head: &Head) -> Option<String> {
        let claimed = self.claimed.filter(|_| self.settings.lock.is_none())?;
        if head.epoch <= claimed || self.is_me(&head.node) {
            return None;
        }
        let other = &head.node;
        Some(format!(
            "another server, {other}, has taken over this storage, which without a lock one server alone may use; end one of them, or give all of them a lock (`ha_enabled`, `ha_storage`)"
        ))
    }

    /// Decides whether to stand now.
    pub(super) fn consider(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if self.rolled_back.is_none() && self.seen.highest().is_none() {
            self.poll_storage(cx, out);
        }
        self.poll_lock(cx, out);
        let rest = self.rest();
        let obstacle = self.obstacle();
        if obstacle.is_some() || cx.now < rest {
            if self.holds_lock() {
                let record = self.lock.released(self.releases, None, None);
                self.write_lock(record, Purpose::Release, out);
            }
            if cx.now < rest {
                self.wake_by(rest);
            }
            self.reason = obstacle.unwrap_or_else(|| "waits before it stands again".to_owned());
            return;
        }
        let Some(epoch) = self.epoch() else { return };
        if self.takes_back.is_some_and(|renounced| renounced != epoch) {
            self.takes_back = None;
        }
        if self.swap.is_some() || !self.is_free(epoch, false, cx.now) {
            return;
        }
        "the lock is free: asks the storage".clone_into(&mut self.reason);
        let number = self.number();
        self.phase = Phase::Checking { number, named: self.lock.epoch() };
        out.push(Effect::Check { number });
    }

    /// Until when this node does not stand of its own accord.
    fn rest(&self) -> Moment {
        let successor = self.lock.record().and_then(|record| record.successor.as_deref());
        if successor.is_some_and(|successor| self.is_me(successor)) {
            return Moment::default();
        }
        let pause = if self.takes_back.is_some() { Moment::default() } else { self.pause_until };
        self.backoff_until.max(pause)
    }

    fn poll_storage(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if cx.now >= self.next_check {
            self.next_check = cx.now.plus(RECHECK);
            let number = self.number();
            out.push(Effect::Check { number });
        }
        self.wake_by(self.next_check);
    }

    /// The watch reports every change; this is for a watch that died silently.
    fn poll_lock(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if self.settings.lock.is_none() {
            return;
        }
        if cx.now >= self.next_look {
            self.next_look = cx.now.plus(self.settings.lease / 3);
            self.look(out);
        }
        self.wake_by(self.next_look);
    }

    fn is_free(&mut self, epoch: u64, is_checked: bool, now: Moment) -> bool {
        if self.settings.lock.is_none() {
            return true;
        }
        if self.lock.is_away() {
            "the lock cannot be reached".clone_into(&mut self.reason);
            return false;
        }
        match self.freedom(epoch, is_checked, now) {
            Freedom::Free => true,
            Freedom::NotBefore(moment) if moment <= now => true,
            Freedom::NotBefore(moment) => {
                self.wake_by(moment);
                self.reason.clear();
                false
            }
            Freedom::Unknown => {
                "the lock has not been read yet".clone_into(&mut self.reason);
                false
            }
        }
    }

    fn freedom(&self, epoch: u64, is_checked: bool, now: Moment) -> Freedom {
        let is_old = self.epoch_since.is_some_and(|(seen, since)| seen == epoch && now.since(since) >= YOUNG);
        let me = self.settings.identity.as_str();
        let ended = self.lock.record().and_then(|record| record.ended.as_deref());
        let has_holder_ended = self.lock.holder().is_some_and(|holder| {
            let was_this_pod =
                holder != me && holder.contains('_') && pod_and_uid_of(holder) == pod_and_uid_of(me);
            is_old && (was_this_pod || ended == Some(holder) || self.signs.has_ended(holder))
        });
        self.lock.freedom(Candidacy {
            me,
            lease: self.settings.lease,
            epoch,
            is_checked,
            has_holder_ended,
            takes_back: self.takes_back,
        })
    }

    /// Takes the answer of a check: if it was the one before standing, goes for the lock.
    pub(super) fn check_answered(
        &mut self,
        number: u64,
        head: Option<Option<Head>>,
        cx: &Context<'_>,
        out: &mut Vec<Effect>,
    ) {
        let Phase::Checking { number: asked, named } = self.phase else { return };
        if asked != number {
            return;
        }
        self.phase = Phase::Idle;
        let Some(Some(head)) = head else {
            "the storage does not answer".clone_into(&mut self.reason);
            self.backoff_until = cx.now.plus(RECHECK);
            return;
        };
        let sign = RollbackSign::below_lock(named, &head);
        if let Some(sign) = &sign
            && !self.accepted.as_ref().is_some_and(|accepted| sign.is_accepted(accepted))
        {
            self.roll_back(sign, cx, out);
            return;
        }
        if self.obstacle().is_some() || !self.is_free(head.epoch, true, cx.now) {
            return;
        }
        let released = self.lock.record().filter(|record| record.holder.is_empty());
        let renounced = released.and_then(|record| record.renounced_epoch);
        // Until this node has claimed, the lock goes on remembering the epochs that the storage has forgotten.
        let active = self.lock.active().filter(|active| active.epoch > head.epoch).cloned();
        let plan = Plan::new(head, renounced, cx.now).above(named);
        if self.settings.lock.is_none() {
            self.send_claim(plan, cx, out);
            return;
        }
        let record = self.lock.held_by(&self.settings.identity, self.settings.lease, active);
        if self.write_lock(record, Purpose::Take, out) {
            "takes the lock".clone_into(&mut self.reason);
            self.phase = Phase::Taking(plan);
        }
    }
}
