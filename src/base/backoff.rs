//! Bounded exponential backoff with jitter, as arithmetic.

use std::time::Duration;

use super::random::Random;

/// Doubling delays between `first` and `most`, each drawn from the upper half of its step.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    step: u32,
}

impl Backoff {
    /// Delays start at `first` and never exceed `most`.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, step: 0 }
    }

    /// The next delay.
    pub fn next_delay(&mut self, random: &dyn Random) -> Duration {
        let full = self.first.saturating_mul(1 << self.step.min(20)).min(self.most);
        self.step = self.step.saturating_add(1);
        let half = full / 2;
        let span = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_micros(random.below(span))
    }

    /// Starts again at the first delay, after a success.
    pub fn reset(&mut self) {
        self.step = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    #[test]
    fn delays_grow_and_stay_below_the_limit() {
        let random = SeededRandom::new(7);
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
        let delays: Vec<_> = (0..10).map(|_| backoff.next_delay(&random)).collect();
        assert!(delays[0] >= Duration::from_millis(5) && delays[0] <= Duration::from_millis(10));
        assert!(delays.iter().all(|d| *d <= Duration::from_millis(100)));
        assert!(delays[9] >= Duration::from_millis(50));
        backoff.reset();
        assert!(backoff.next_delay(&random) <= Duration::from_millis(10));
    }
}
