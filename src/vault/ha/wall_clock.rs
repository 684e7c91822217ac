//! This node's wall clock, judged by its own steady clock and by the wall clocks of its peers. Pure.

use std::time::Duration;

use super::committer::{ClusterTime, JUMP};
use crate::base::clock::{Moment, UnixMillis};

/// So long the peers must say that a clock is off before they are believed: an answer that was stuck on its way looks the
/// same for a moment.
const DOUBT: Duration = Duration::from_secs(3);

/// What the peers said keeps a node from leading for so long after they were last heard. A cluster without a leader needs
/// one more than it needs the right one, and a node goes by the corrected time even then.
const VALID: Duration = Duration::from_secs(60);

/// The fewest clocks that are compared: of two, nobody knows which one is off.
const FEWEST_CLOCKS: usize = 3;

/// How far the median of all clocks is ahead of this node's own, in milliseconds, given how far each peer's clock is.
/// `None` with fewer than three clocks, this node's own among them. Of the two in the middle of an even number the nearer
/// one counts.
pub(super) fn median_ahead_ms(peers_ahead_ms: impl IntoIterator<Item = i64>) -> Option<i64> {
    let mut all: Vec<i64> = peers_ahead_ms.into_iter().collect();
    all.push(0);
    all.sort_unstable();
    if all.len() < FEWEST_CLOCKS {
        return None;
    }
    let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
    Some(if low.unsigned_abs() <= high.unsigned_abs() { low } else { high })
}

/// What the peers last said about this node's clock.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Moment,
    /// How far the median was ahead of this clock.
    ahead_ms: i64,
    /// Since when they have been saying that it is off; `None` if it is not.
    off_since: Option<Moment>,
}

/// A wall clock that is followed as long as nothing speaks against it.
#[derive(Debug, Clone)]
pub(super) struct WallClock {
    base: ClusterTime,
    heard: Option<Heard>,
    /// What is added to the clock, because the peers have been saying so.
    correction_ms: i64,
}

impl WallClock {
    /// A clock that shows `unix` at `now`, and is believed.
    pub(super) fn starting_at(unix: UnixMillis, now: Moment) -> Self {
        Self { base: ClusterTime::starting_at(unix, now), heard: None, correction_ms: 0 }
    }

    /// Takes in that the median of the clocks is `ahead_ms` ahead of this one, which shows `unix` at `now`. A clock that
    /// agrees is believed from now on, whatever it did before.
    pub(super) fn hear(&mut self, now: Moment, unix: UnixMillis, ahead_ms: i64) {
        let off_since = is_off(ahead_ms).then(|| {
            let before = self.heard.filter(|before| !is_off(before.ahead_ms.saturating_sub(ahead_ms)));
            before.and_then(|before| before.off_since).unwrap_or(now)
        });
        self.heard = Some(Heard { at: now, ahead_ms, off_since });
        match off_since {
            None => self.correction_ms = 0,
            Some(since) if now.since(since) >= DOUBT => self.correction_ms = ahead_ms,
            Some(_) => return,
        }
        let corrected = unix.0.saturating_add_signed(self.correction_ms);
        if self.base.is_skewed(now, UnixMillis(corrected)) {
            self.base = ClusterTime::starting_at(UnixMillis(corrected), now);
        }
    }

    /// The time at `now`, when the clock shows `unix`: without the jumps of this clock, and corrected by what its peers say.
    pub(super) fn at(&self, now: Moment, unix: UnixMillis) -> UnixMillis {
        self.base.at(now, self.corrected(unix))
    }

    /// Like [`WallClock::at`], and goes on from there.
    pub(super) fn advance(&mut self, now: Moment, unix: UnixMillis) -> UnixMillis {
        self.base.advance(now, self.corrected(unix))
    }

    /// Whether this clock must not lead: it jumped, or its peers say that it is off.
    pub(super) fn is_skewed(&self, now: Moment, unix: UnixMillis) -> bool {
        let is_told = self.correction_ms != 0 && self.heard_lately(now).is_some();
        is_told || self.base.is_skewed(now, self.corrected(unix))
    }

    /// How far this clock is ahead of the others (negative: behind), in milliseconds; of what it would show without its
    /// jumps where no others are heard.
    pub(super) fn skew_ms(&self, now: Moment, unix: UnixMillis) -> i64 {
        match self.heard_lately(now) {
            Some(heard) => heard.ahead_ms.saturating_neg(),
            None if self.is_skewed(now, unix) => {
                let believed = i64::try_from(self.at(now, unix).0).unwrap_or(i64::MAX);
                i64::try_from(unix.0).unwrap_or(i64::MAX).saturating_sub(believed)
            }
            None => 0,
        }
    }

    fn corrected(&self, unix: UnixMillis) -> UnixMillis {
        UnixMillis(unix.0.saturating_add_signed(self.correction_ms))
    }

    fn heard_lately(&self, now: Moment) -> Option<&Heard> {
        self.heard.as_ref().filter(|heard| now.since(heard.at) <= VALID)
    }
}

fn is_off(ms: i64) -> bool {
    u128::from(ms.unsigned_abs()) > JUMP.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// What a clock that is right shows at the beginning.
    const START: u64 = 1_700_000_000_000;

    fn at(millis: u64) -> Moment {
        Moment::from_origin(Duration::from_millis(millis))
    }

    /// What a clock that is `off_ms` ahead shows.
    fn shown(millis: u64, off_ms: i64) -> UnixMillis {
        UnixMillis((START + millis).saturating_add_signed(off_ms))
    }

    #[test]
    fn the_median_needs_three_clocks_and_takes_the_nearer_of_two() {
        let table: &[(&[i64], Option<i64>)] = &[
            (&[], None),
            (&[HOUR], None),
            (&[HOUR, HOUR], Some(HOUR)),
            (&[HOUR, 20], Some(20)),
            (&[HOUR, -HOUR], Some(0)),
            (&[-HOUR, -2 * HOUR], Some(-HOUR)),
            (&[HOUR, HOUR, 3], Some(3)),
            (&[-HOUR, -HOUR, -5], Some(-5)),
            (&[HOUR, HOUR, HOUR, 2], Some(HOUR)),
        ];
        for (peers, expected) in table {
            assert_eq!(median_ahead_ms(peers.iter().copied()), *expected, "{peers:?}");
        }
    }

    #[test]
    fn a_clock_that_agrees_is_followed() {
        let mut clock = WallClock::starting_at(shown(0, 0), at(0));
        for second in 1..100 {
            let (now, unix) = (at(second * 1000), shown(second * 1000, 0));
            clock.hear(now, unix, if second % 2 == 0 { 29_000 } else { -29_000 });
            assert!(!clock.is_skewed(now, unix));
            assert_eq!(clock.advance(now, unix), unix);
        }
    }

    #[test]
    fn a_clock_that_is_off_from_the_start_is_corrected_once_that_is_certain() {
        let mut clock = WallClock::starting_at(shown(0, HOUR), at(0));
        for millis in [1000, 2000, 3000] {
            clock.hear(at(millis), shown(millis, HOUR), -HOUR);
            assert!(!clock.is_skewed(at(millis), shown(millis, HOUR)), "{millis}");
            assert_eq!(clock.skew_ms(at(millis), shown(millis, HOUR)), HOUR, "it is shown at once");
        }
        clock.hear(at(4000), shown(4000, HOUR), -HOUR);
        assert!(clock.is_skewed(at(4000), shown(4000, HOUR)));
        assert_eq!(clock.advance(at(5000), shown(5000, HOUR)), shown(5000, 0));
        // Alone for long: it may lead, and its time stays the right one.
        let (later, unix) = (at(4000 + 60_001), shown(64_001, HOUR));
        assert!(!clock.is_skewed(later, unix));
        assert_eq!(clock.at(later, unix), shown(64_001, 0));
        // Mended: believed at once, and no jump.
        clock.hear(at(70_000), shown(70_000, 0), 0);
        assert!(!clock.is_skewed(at(70_000), shown(70_000, 0)));
        assert_eq!(clock.advance(at(71_000), shown(71_000, 0)), shown(71_000, 0));
    }

    #[test]
    fn one_answer_that_was_stuck_says_nothing() {
        let mut clock = WallClock::starting_at(shown(0, 0), at(0));
        for (millis, ahead) in
            [(500, 0), (1000, -90_000), (1500, 0), (5000, -90_000), (9000, -40_000), (9500, 0)]
        {
            clock.hear(at(millis), shown(millis, 0), ahead);
            assert!(!clock.is_skewed(at(millis), shown(millis, 0)), "{millis}");
            assert_eq!(clock.advance(at(millis), shown(millis, 0)), shown(millis, 0), "{millis}");
        }
    }

    #[test]
    fn a_jump_counts_without_peers_and_ends_when_they_agree() {
        let mut clock = WallClock::starting_at(shown(0, -HOUR), at(0));
        // Set right while nobody is heard: a jump.
        assert!(clock.is_skewed(at(1000), shown(1000, 0)));
        assert_eq!(clock.advance(at(1000), shown(1000, 0)), shown(1000, -HOUR));
        assert_eq!(clock.skew_ms(at(1000), shown(1000, 0)), HOUR);
        clock.hear(at(2000), shown(2000, 0), 12);
        assert!(!clock.is_skewed(at(2000), shown(2000, 0)));
        assert_eq!(clock.advance(at(2000), shown(2000, 0)), shown(2000, 0));
        assert_eq!(clock.skew_ms(at(2000), shown(2000, 0)), -12);
    }
}
