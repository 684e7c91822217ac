//! The budget of written bytes, heads and segments: a token bucket as arithmetic.

use std::time::Duration;

use crate::base::clock::Moment;

/// A bucket that fills at a steady rate and may go into debt; whoever draws on it waits until the debt is paid.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_per_second: u64,
    most_bytes: i64,
    level_bytes: i64,
    filled_at: Moment,
}

impl Budget {
    /// A full bucket that holds what flows in over `window_seconds`.
    pub(super) fn new(bytes_per_second: u64, window_seconds: u64, now: Moment) -> Self {
        let most_bytes =
            i64::try_from(bytes_per_second.saturating_mul(window_seconds)).unwrap_or(i64::MAX / 2);
        Self { bytes_per_second, most_bytes, level_bytes: most_bytes, filled_at: now }
    }

    /// How long to wait before anything may be sent: until the debt of earlier sends is paid.
    pub(super) fn wait(&mut self, now: Moment) -> Duration {
        self.fill(now);
        if self.level_bytes >= 0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(as_f64(self.level_bytes.unsigned_abs()) / as_f64(self.bytes_per_second))
    }

    /// Whether more than half of a burst is used up.
    pub(super) fn is_scarce(&mut self, now: Moment) -> bool {
        self.fill(now);
        self.level_bytes < self.most_bytes / 2
    }

    /// Takes out what was sent.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.level_bytes = self.level_bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX / 2));
    }

    /// Takes out what another node was seen to have sent: who leads next goes on where that node was. That makes no debt,
    /// because the other node waited until it had paid its own; what is seen from outside is only about what was sent,
    /// and would add up to a debt that nobody has.
    pub(super) fn observe(&mut self, bytes: usize, now: Moment) {
        self.fill(now);
        let floor = self.level_bytes.min(0);
        self.spend(bytes);
        self.level_bytes = self.level_bytes.max(floor);
    }

    fn fill(&mut self, now: Moment) {
        let flowed = now.since(self.filled_at).as_secs_f64() * as_f64(self.bytes_per_second);
        // Whole bytes only; the rest of a byte stays in the time that is not yet counted.
        if flowed >= 1.0 {
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and the level is capped below")]
            let bytes = flowed as i64;
            self.level_bytes = self.level_bytes.saturating_add(bytes).min(self.most_bytes);
            self.filled_at = now;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let mut budget = Budget::new(1000, 10, at(0));
        budget.spend(10_000);
        assert_eq!(budget.wait(at(0)), Duration::ZERO);
        budget.spend(500);
        assert_eq!(budget.wait(at(0)), Duration::from_millis(500));
        assert_eq!(budget.wait(at(250)), Duration::from_millis(250));
        assert_eq!(budget.wait(at(500)), Duration::ZERO);
    }

    #[test]
    fn what_another_node_sends_is_taken_out_of_a_full_bucket() {
        let mut budget = Budget::new(1000, 10, at(0));
        budget.observe(9900, at(60_000));
        budget.spend(600);
        assert_eq!(budget.wait(at(60_000)), Duration::from_millis(500), "idle time was counted before");
    }

    #[test]
    fn what_another_node_sends_makes_no_debt() {
        let mut budget = Budget::new(1000, 10, at(0));
        for second in 0..100 {
            // A fifth more than the other node can have sent.
            budget.observe(1200, at(second * 1000));
        }
        assert_eq!(budget.wait(at(99_000)), Duration::ZERO);
        budget.spend(500);
        budget.observe(1200, at(99_000));
        assert_eq!(budget.wait(at(99_000)), Duration::from_millis(500), "an own debt stays as it is");
    }

    #[test]
    fn bytes_are_scarce_when_half_of_a_burst_is_used_up() {
        let mut budget = Budget::new(1000, 10, at(0));
        budget.spend(5000);
        assert!(!budget.is_scarce(at(0)));
        budget.spend(1);
        assert!(budget.is_scarce(at(0)));
        assert!(!budget.is_scarce(at(1)), "it fills");
    }

    #[test]
    fn over_a_long_time_no_more_than_the_rate_flows() {
        let mut budget = Budget::new(1000, 10, at(0));
        let (mut now, mut sent) = (0u64, 0u64);
        while now < 100_000 {
            let wait = budget.wait(at(now));
            now += u64::try_from(wait.as_micros().div_ceil(1000)).unwrap();
            budget.spend(300);
            sent += 300;
        }
        assert!((110_000 - 600..=110_000 + 600).contains(&sent), "{sent}");
    }

    #[test]
    fn an_idle_bucket_does_not_overflow() {
        let mut budget = Budget::new(1000, 10, at(0));
        assert_eq!(budget.wait(at(1_000_000)), Duration::ZERO);
        budget.spend(11_000);
        assert_eq!(budget.wait(at(1_000_000)), Duration::from_secs(1));
    }
}
