//! [`LockView`]: what this node knows of the lock, and when it may take it.

use std::time::Duration;

use crate::base::clock::Moment;
use crate::vault::ha::settings::MOST_LEASE_SECONDS;
use crate::vault::physical::{ActiveRecord, LockRecord, Version, Versioned};

/// Whether the lock may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freedom {
    /// At once.
    Free,
    /// Not before this moment, if nothing changes until then.
    NotBefore(Moment),
    /// Nothing is known of it.
    Unknown,
}

/// The lock as last seen.
#[derive(Debug, Clone, Default)]
pub struct LockView {
    content: Option<Versioned>,
    /// When the content was last seen to change in a way that shows life; `None` before the first sight.
    observed: Option<Moment>,
    away_since: Option<Moment>,
}

/// What a candidate knows besides the lock's content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidacy<'a> {
    pub(super) me: &'a str,
    pub(super) lease: Duration,
    /// Epoch of the storage's head.
    pub(super) epoch: u64,
    /// A quorum check has just said so; otherwise the epoch may be one behind, and a release may know better.
    pub(super) is_checked: bool,
    /// There is definite evidence that the holder's process has ended.
    pub(super) has_holder_ended: bool,
    /// The epoch that this node renounced in a handover which did not move the head.
    pub(super) takes_back: Option<u64>,
}

impl LockView {
    /// The content as last seen.
    pub fn record(&self) -> Option<&LockRecord> {
        self.content.as_ref().map(|content| &content.record)
    }

    /// The version to compare with in a swap.
    pub fn version(&self) -> Option<&Version> {
        self.content.as_ref().map(|content| &content.version)
    }

    /// The holder; `None` if the lock is absent or released.
    pub fn holder(&self) -> Option<&str> {
        self.record().map(|record| record.holder.as_str()).filter(|holder| !holder.is_empty())
    }

    /// The active node that the lock names.
    pub fn active(&self) -> Option<&ActiveRecord> {
        self.record().and_then(|record| record.active.as_ref())
    }

    /// The highest epoch that the record names. It names only epochs that the head had when it was written, so it is what
    /// the lock remembers of the history when every process has ended.
    pub fn epoch(&self) -> Option<u64> {
        let record = self.record()?;
        let active = record.active.as_ref().map(|active| active.epoch);
        [active, record.released_epoch, record.renounced_epoch].into_iter().flatten().max()
    }

    /// Whether it was ever seen.
    pub fn is_known(&self) -> bool {
        self.observed.is_some()
    }

    /// Whether it cannot be reached.
    pub fn is_away(&self) -> bool {
        self.away_since.is_some()
    }

    /// Notes its content. Expiry is timed from when *this node* saw the record live, never from what it says; and an
    /// absence of the lock service proves nothing about the holder, so its end starts the time anew.
    pub(super) fn saw(&mut self, content: Option<Versioned>, lease: Duration, now: Moment) {
        let life = |content: &Option<Versioned>| {
            content.as_ref().map(|c| (c.record.holder.clone(), c.record.renewals))
        };
        let was_away = self.away_since.take().is_some_and(|since| now.since(since) > lease / 3);
        let is_released = |content: &Option<Versioned>| content.as_ref().map(|c| c.record.released_epoch);
        let has_changed =
            life(&content) != life(&self.content) || is_released(&content) != is_released(&self.content);
        if self.observed.is_none() || was_away || has_changed {
            self.observed = Some(now);
        }
        self.content = content;
    }

    pub(super) fn lost_sight(&mut self, now: Moment) {
        self.away_since.get_or_insert(now);
    }

    /// Whether a candidate may take the lock.
    pub(super) fn freedom(&self, candidacy: Candidacy<'_>) -> Freedom {
        let Some(observed) = self.observed else { return Freedom::Unknown };
        let after_a_lease = Freedom::NotBefore(observed.plus(candidacy.lease));
        let Some(record) = self.record() else {
            // Nobody ever led a cluster of epoch zero, so there is nobody to wait for.
            return if candidacy.epoch == 0 { Freedom::Free } else { after_a_lease };
        };
        if record.holder == candidacy.me {
            return Freedom::Free;
        }
        if record.holder.is_empty() {
            let is_named = record.released_epoch.is_some_and(|released| {
                released == candidacy.epoch || (!candidacy.is_checked && released > candidacy.epoch)
            });
            let is_believed = candidacy.epoch == 0 || is_named;
            let is_for_me = record.successor.as_deref().is_none_or(|successor| successor == candidacy.me);
            let is_my_own = candidacy.takes_back.is_some() && candidacy.takes_back == record.released_epoch;
            return if is_believed && (is_for_me || is_my_own) { Freedom::Free } else { after_a_lease };
        }
        if candidacy.has_holder_ended {
            return Freedom::Free;
        }
        let seconds = record.duration_seconds.clamp(1, MOST_LEASE_SECONDS);
        Freedom::NotBefore(observed.plus(Duration::from_secs(u64::from(seconds))))
    }

    /// The record with which `me` takes or renews the lock.
    pub(super) fn held_by(&self, me: &str, lease: Duration, active: Option<ActiveRecord>) -> LockRecord {
        let before = self.record();
        let changes_holder = self.holder() != Some(me);
        LockRecord {
            holder: me.to_owned(),
            duration_seconds: u32::try_from(lease.as_secs()).unwrap_or(MOST_LEASE_SECONDS).max(1),
            renewals: before.map_or(0, |record| record.renewals).wrapping_add(1),
            transitions: before
                .map_or(0, |record| record.transitions)
                .wrapping_add(u32::from(changes_holder)),
            active,
            leaving: before.and_then(|record| record.leaving.clone()),
            // A wish was addressed to the node that held the lock then.
            handover: before.and_then(|record| record.handover.clone()).filter(|_| !changes_holder),
            ..LockRecord::default()
        }
    }

    /// The record that releases the lock. `epoch`: what the release is to be believed for.
    pub(super) fn released(
        &self,
        epoch: Option<u64>,
        successor: Option<&str>,
        renounced: Option<u64>,
    ) -> LockRecord {
        let before = self.record().cloned().unwrap_or_default();
        LockRecord {
            holder: String::new(),
            renewals: before.renewals.wrapping_add(1),
            released_epoch: epoch,
            active: None,
            successor: successor.map(str::to_owned),
            renounced_epoch: renounced,
            handover: None,
            ended: None,
            ..before
        }
    }
}
