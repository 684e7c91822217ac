//! [`Outage`]: when a storage that does not answer counts as away, as arithmetic.
//!
//! Storages pause: a slow disk, an election among their members, a restart. Who waits is told nothing of a pause that is
//! shorter than [`PATIENCE`]; once the storage counts as away, everybody is told at the next question that fails.

use std::time::Duration;

use crate::base::clock::Moment;

/// How long questions must have failed, from the sending of the first of them, until the storage counts as away. Longer than
/// an election among the members of a storage usually takes, and short enough that a client hears of it within three
/// seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What the questions to a storage came to, as far as it matters whether it is away.
#[derive(Debug, Clone, Default)]
pub(super) struct Outage {
    /// When the first of the questions that failed in a row was sent, and when the newest failed.
    failing: Option<(Moment, Moment)>,
    is_away: bool,
}

impl Outage {
    /// The storage answered.
    pub(super) fn answered(&mut self) {
        *self = Self::default();
    }

    /// A question that was sent at `sent_at` has failed at `now`.
    pub(super) fn failed(&mut self, sent_at: Moment, now: Moment) {
        let since = match self.failing {
            // Two failures with nothing asked for long between them are no pause that lasts.
            Some((since, newest)) if sent_at.since(newest) < PATIENCE => since,
            _ => sent_at,
        };
        self.failing = Some((since, now));
        self.is_away |= now.since(since) >= PATIENCE;
    }

    /// Whether it counts as away, until it answers.
    pub(super) fn is_away(&self) -> bool {
        self.is_away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_origin(Duration::from_millis(millis))
    }

    /// Whether the storage counts as away after questions that were sent and failed at these times.
    fn after(failures: &[(u64, u64)]) -> bool {
        let mut outage = Outage::default();
        failures.iter().for_each(|(sent, failed)| outage.failed(at(*sent), at(*failed)));
        outage.is_away()
    }

    #[test]
    fn a_pause_is_no_outage() {
        assert!(!after(&[]));
        assert!(!after(&[(100, 800)]));
        assert!(!after(&[(100, 800), (900, 1600)]));
        assert!(!after(&[(100, 800), (900, 1600), (1700, 2099)]));
        assert!(after(&[(100, 800), (900, 1600), (1700, 2100)]));
        assert!(after(&[(100, 2100)]));
    }

    #[test]
    fn failures_far_apart_are_two_pauses() {
        assert!(!after(&[(0, 700), (3_000, 3_700)]));
        assert!(!after(&[(0, 700), (3_000, 3_700), (3_800, 4_500)]));
        assert!(after(&[(0, 700), (3_000, 3_700), (3_800, 4_500), (4_600, 5_000)]));
    }

    #[test]
    fn once_away_it_stays_so_until_it_answers() {
        let mut outage = Outage::default();
        outage.failed(at(0), at(2_000));
        outage.failed(at(60_000), at(60_001));
        assert!(outage.is_away(), "rare questions do not begin a new pause");
        outage.answered();
        assert!(!outage.is_away());
        outage.failed(at(61_000), at(61_700));
        assert!(!outage.is_away());
    }

    #[test]
    fn questions_may_fail_out_of_order() {
        let mut outage = Outage::default();
        outage.failed(at(500), at(510));
        outage.failed(at(0), at(700));
        assert!(!outage.is_away());
        outage.failed(at(800), at(2_500));
        assert!(outage.is_away());
    }
}
