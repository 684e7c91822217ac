//! How often the storage is asked for its journal: seldom while nobody waits for it.
//!
//! With many commits a second, three nodes that read every record on its own would cost the storage more than the commits
//! do. What is read later is read together; whoever needs it now says so.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Sleep;

/// Time between two questions while nobody waits for what they bring.
const GATHER: Duration = Duration::from_millis(50);

/// The time until the next question, which began with the last one.
pub(super) type Pause = Pin<Box<Sleep>>;

/// Decides when the next question is due.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Holds one hurry that came while nothing waited.
    hurried: Notify,
}

impl Pace {
    /// Waits until `pause` is over or somebody is in a hurry; the next pause begins when this returns.
    pub(super) async fn next(&self, pause: Option<Pause>) -> Pause {
        if let Some(pause) = pause {
            tokio::select! {
                biased;
                () = pause => {}
                () = self.hurried.notified() => {}
            }
        }
        Box::pin(tokio::time::sleep(GATHER))
    }

    /// Makes the next question due at once.
    pub(super) fn hurry(&self) {
        self.hurried.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// How long the next question has to wait, and the pause that it begins.
    async fn waited(pace: &Pace, pause: Option<Pause>) -> (Duration, Option<Pause>) {
        let begun = Instant::now();
        let pause = pace.next(pause).await;
        (begun.elapsed(), Some(pause))
    }

    #[tokio::test(start_paused = true)]
    async fn questions_have_a_distance_unless_somebody_is_in_a_hurry() {
        let pace = Pace::default();
        let (first, pause) = waited(&pace, None).await;
        assert_eq!(first, Duration::ZERO, "the first question");
        let (rest, pause) = waited(&pace, pause).await;
        assert!((GATHER..GATHER + Duration::from_millis(2)).contains(&rest), "{rest:?}");
        tokio::time::sleep(GATHER * 2).await;
        let (rest, pause) = waited(&pace, pause).await;
        assert_eq!(rest, Duration::ZERO, "the last one was long ago");
        pace.hurry();
        pace.hurry();
        let (rest, pause) = waited(&pace, pause).await;
        assert_eq!(rest, Duration::ZERO, "hurried before");
        let (rest, pause) = waited(&pace, pause).await;
        assert!(rest >= GATHER, "hurrying twice counts once: {rest:?}");
        let ((rest, _), ()) = tokio::join!(waited(&pace, pause), async { pace.hurry() });
        assert_eq!(rest, Duration::ZERO, "hurried meanwhile");
    }
}
