//! Being active: renewing the lock, keeping it, and noticing that one is active no longer.

use std::time::Duration;

use super::event::{Cause, Context, Effect};
use super::handover::Handover;
use super::lock::{Candidacy, Freedom};
use super::machine::{Election, Phase, Purpose};
use crate::base::clock::Moment;
use crate::vault::ha::settings::pod_of;
use crate::vault::physical::{ActiveRecord, Head};

/// How long commits rest when another node is seen in the lock: it is about to claim.
const FOREIGN_PAUSE: Duration = Duration::from_secs(1);

/// One epoch of this node.
#[derive(Debug, Clone)]
pub struct Reign {
    pub(super) claim: Head,
    since: Moment,
    next_renewal: Moment,
    is_published: bool,
    probing: Option<u64>,
    asking: Option<u64>,
    /// Another holder that was seen in the lock, and until when commits rest for it.
    foreign: Option<(String, Option<Moment>)>,
    /// The lock was given up because a peer reaches the storage and this node does not.
    has_given_up: bool,
    pub(super) handover: Option<Handover>,
    pub(super) served_wish: Option<String>,
}

impl Reign {
    pub(super) fn new(claim: Head, now: Moment) -> Self {
        Self {
            claim,
            since: now,
            next_renewal: now,
            is_published: false,
            probing: None,
            asking: None,
            foreign: None,
            has_given_up: false,
            handover: None,
            served_wish: None,
        }
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.claim.epoch
    }

    /// When the node began to serve.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Whether new requests are held because of a handover.
    pub fn is_holding(&self) -> bool {
        self.handover.as_ref().is_some_and(Handover::is_holding)
    }
}

impl Election {
    pub(super) fn reign(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &self.phase else { return };
        let epoch = reign.epoch();
        if self.epoch().is_some_and(|newest| newest > epoch) {
            self.depose(cx, out);
            return;
        }
        if !self.is_able {
            self.abdicate(cx, out);
            return;
        }
        if self.settings.lock.is_none() {
            return;
        }
        self.heed_foreign_holder(cx, out);
        self.heed_wish(cx, out);
        if matches!(&self.phase, Phase::Active(reign) if reign.handover.is_some()) {
            self.advance_handover(cx, out);
            return;
        }
        self.keep_lock(cx, out);
    }

    /// Another node's claim was seen.
    fn depose(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        self.leave_office(cx, out);
        if self.holds_lock() {
            let record = self.lock.released(None, None, None);
            self.write_lock(record, Purpose::Release, out);
        }
    }

    /// The vault was sealed here: reads end first, then the lock is released for this epoch.
    fn abdicate(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &self.phase else { return };
        let epoch = reign.epoch();
        self.leave_office(cx, out);
        self.releases = Some(epoch);
        if self.holds_lock() {
            let record = self.lock.released(Some(epoch), None, Some(epoch));
            self.write_lock(record, Purpose::Release, out);
        }
    }

    fn heed_foreign_holder(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let foreign = self.lock.holder().filter(|holder| !self.is_me(holder)).map(str::to_owned);
        let Phase::Active(reign) = &mut self.phase else { return };
        let mut wake = None;
        match (foreign, &mut reign.foreign) {
            (Some(holder), Some((seen, rest))) if *seen == holder => match rest {
                Some(until) if cx.now >= *until => {
                    *rest = None;
                    out.push(Effect::Suspend(false));
                }
                Some(until) => wake = Some(*until),
                None => {}
            },
            (Some(holder), was) => {
                let until = cx.now.plus(FOREIGN_PAUSE);
                *was = Some((holder, Some(until)));
                wake = Some(until);
                out.push(Effect::Suspend(true));
            }
            (None, was) => {
                if was.take().is_some_and(|(_, rest)| rest.is_some()) {
                    out.push(Effect::Suspend(false));
                }
            }
        }
        if let Some(wake) = wake {
            self.wake_by(wake);
        }
    }

    fn heed_wish(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if !self.holds_lock() {
            return;
        }
        let Some(wish) = self.lock.record().and_then(|record| record.handover.clone()) else { return };
        let Phase::Active(reign) = &mut self.phase else { return };
        if reign.handover.is_some() || reign.served_wish.as_ref() == Some(&wish.nonce) {
            return;
        }
        reign.served_wish = Some(wish.nonce);
        if wish.to.as_deref() != Some(pod_of(&self.settings.identity)) {
            self.begin_handover(Cause::Wish, wish.to, cx, out);
        }
    }

    /// Renews the lock, or takes it again where it was lost.
    fn keep_lock(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        if self.lock.holder().is_some_and(|holder| !self.is_me(holder)) {
            self.retake(cx, out);
            return;
        }
        let is_held = self.holds_lock();
        let Phase::Active(reign) = &mut self.phase else { return };
        if !is_held
            && !reign.has_given_up
            && self.lock.is_known()
            && self.swap.is_none()
            && cx.now >= reign.next_renewal
        {
            // Deleted or emptied by somebody: it is written again, without a loss of office.
            reign.is_published = false;
        }
        if !reign.is_published && !reign.has_given_up && self.swap.is_none() {
            self.write_active(cx, out);
            return;
        }
        if cx.now >= reign.next_renewal
            && reign.probing.is_none()
            && reign.asking.is_none()
            && self.swap.is_none()
        {
            reign.next_renewal = cx.now.plus(self.settings.lease / 3);
            self.counter_probe(out);
        }
        if let Phase::Active(reign) = &self.phase {
            let next = reign.next_renewal;
            self.wake_by(next);
        }
    }

    fn counter_probe(&mut self, out: &mut Vec<Effect>) {
        let number = self.number();
        if let Phase::Active(reign) = &mut self.phase {
            reign.probing = Some(number);
            out.push(Effect::Probe { number });
        }
    }

    /// Another node holds the lock but did not claim: once its lease has run out the lock is taken again.
    fn retake(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &mut self.phase else { return };
        if cx.now < reign.next_renewal {
            let next = reign.next_renewal;
            self.wake_by(next);
            return;
        }
        reign.next_renewal = cx.now.plus(self.settings.lease / 3);
        let (next, epoch) = (reign.next_renewal, reign.epoch());
        self.wake_by(next);
        self.look(out);
        if self.may_retake(epoch, cx.now) {
            self.write_active(cx, out);
        }
    }

    fn may_retake(&self, epoch: u64, now: Moment) -> bool {
        match self.freedom_for_active(epoch) {
            Freedom::Free => true,
            Freedom::NotBefore(moment) => moment <= now,
            Freedom::Unknown => false,
        }
    }

    fn freedom_for_active(&self, epoch: u64) -> Freedom {
        self.lock.freedom(Candidacy {
            me: &self.settings.identity,
            lease: self.settings.lease,
            epoch,
            is_checked: true,
            has_holder_ended: false,
            takes_back: None,
        })
    }

    fn write_active(&mut self, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &self.phase else { return };
        let active = ActiveRecord {
            identity: self.settings.identity.clone(),
            epoch: reign.epoch(),
            api_addr: self.settings.api_addr.clone(),
            cluster_addr: self.settings.cluster_addr.clone(),
        };
        let mut record = self.lock.held_by(&self.settings.identity, self.settings.lease, Some(active));
        record.handover = record.handover.filter(|wish| reign.served_wish.as_ref() != Some(&wish.nonce));
        if self.write_lock(record, Purpose::Keep, out)
            && let Phase::Active(reign) = &mut self.phase
        {
            reign.next_renewal = cx.now.plus(self.settings.lease / 3);
        }
    }

    /// A renewal was written, or not.
    pub(super) fn kept(&mut self, is_written: bool, cx: &Context<'_>) {
        let retry = cx.now.plus(self.settings.lease / 6);
        if let Phase::Active(reign) = &mut self.phase {
            reign.is_published |= is_written;
            if !is_written {
                reign.next_renewal = reign.next_renewal.min(retry);
            }
        }
    }

    /// Renewal depends on the ability to serve.
    pub(super) fn probed(&mut self, number: u64, is_serving: bool, cx: &Context<'_>, out: &mut Vec<Effect>) {
        let Phase::Active(reign) = &mut self.phase else { return };
        if reign.probing != Some(number) {
            return;
        }
        reign.probing = None;
        if reign.handover.is_some() {
            return;
        }
        if is_serving {
            reign.has_given_up = false;
            self.reason.clear();
            if self.holds_lock() || self.lock.holder().is_none() {
                self.write_active(cx, out);
            }
            return;
        }
        let number = self.number();
        if let Phase::Active(reign) = &mut self.phase {
            reign.asking = Some(number);
            "cannot serve at the moment".clone_into(&mut self.reason);
            out.push(Effect::AskStorage { number });
        }
    }

    /// An active that cannot serve gives the lock up only to a peer that reaches the storage: an outage of the storage
    /// must not send the lock round.
    pub(super) fn storage_reached(
        &mut self,
        number: u64,
        by: Option<String>,
        cx: &Context<'_>,
        out: &mut Vec<Effect>,
    ) {
        let Phase::Active(reign) = &mut self.phase else { return };
        if reign.asking != Some(number) {
            return;
        }
        reign.asking = None;
        let epoch = reign.epoch();
        let Some(peer) = by else {
            if self.holds_lock() {
                self.write_active(cx, out);
            }
            return;
        };
        if !self.holds_lock() {
            return;
        }
        let record = self.lock.released(Some(epoch), Some(&peer), None);
        if self.write_lock(record, Purpose::Release, out)
            && let Phase::Active(reign) = &mut self.phase
        {
            reign.has_given_up = true;
        }
    }
}
