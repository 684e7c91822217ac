//! How often the storage is asked for its journal: seldom while nobody waits for it.
//!
//! With many commits a second, three nodes that read every record on its own would cost the storage more than the commits
//! do. What is read later is read together; whoever needs it now says so.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Time between two questions while nobody waits for what they bring.
const GATHER: Duration = Duration::from_millis(50);

/// Decides when the next question is due.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Holds one hurry that came while nothing waited.
    hurried: Notify,
}

impl Pace {
    /// Waits until [`GATHER`] after the last question, which was asked at `asked`, or until somebody is in a hurry.
    pub(super) async fn wait(&self, asked: Option<Instant>) {
        let Some(asked) = asked else { return };
        let due = asked + GATHER;
        if due > Instant::now() {
            // Both ends of the wait mean the same.
            let _ = tokio::time::timeout_at(due, self.hurried.notified()).await;
        }
    }

    /// Makes the next question due at once.
    pub(super) fn hurry(&self) {
        self.hurried.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waited(pace: &Pace, asked: Option<Instant>) -> Duration {
        let begun = Instant::now();
        pace.wait(asked).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn questions_have_a_distance_unless_somebody_is_in_a_hurry() {
        let (pace, now) = (Pace::default(), Instant::now());
        assert_eq!(waited(&pace, None).await, Duration::ZERO, "the first question");
        let rest = waited(&pace, Some(now)).await;
        assert!((GATHER..GATHER + Duration::from_millis(2)).contains(&rest), "{rest:?}");
        assert_eq!(waited(&pace, Some(now)).await, Duration::ZERO, "the last one was long ago");
        pace.hurry();
        pace.hurry();
        assert_eq!(waited(&pace, Some(Instant::now())).await, Duration::ZERO, "hurried before");
        let rest = waited(&pace, Some(Instant::now())).await;
        assert!(rest >= GATHER, "hurrying twice counts once: {rest:?}");
        let asked = Some(Instant::now());
        let (rest, ()) = tokio::join!(waited(&pace, asked), async { pace.hurry() });
        assert_eq!(rest, Duration::ZERO, "hurried meanwhile");
    }
}
