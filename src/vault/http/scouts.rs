//! [`Scouts`]: of the many requests that the active node did not take, a few ask it again; the others wait for what comes
//! of that. So a thousand waiting requests cost no more than eight.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// Requests that ask again at a time.
const SCOUTS: usize = 8;
/// Time between a refusal and the next question.
const PAUSE: Duration = Duration::from_millis(100);

/// The requests that ask again.
pub(super) struct Scouts {
    places: Semaphore,
    /// Changes whenever one of them was taken.
    taken: watch::Sender<()>,
}

/// The right to ask again.
pub(super) struct Scout<'a> {
    _place: SemaphorePermit<'a>,
}

impl Default for Scouts {
    fn default() -> Self {
        Self { places: Semaphore::new(SCOUTS), taken: watch::Sender::new(()) }
    }
}

impl Scouts {
    /// Waits for this request's turn; `None`: another one was taken, so everybody may ask.
    pub(super) async fn turn(&self) -> Option<Scout<'_>> {
        let mut taken = self.taken.subscribe();
        tokio::select! {
            _ = taken.changed() => None,
            scout = async {
                let place = self.places.acquire().await.ok();
                tokio::time::sleep(PAUSE).await;
                place.map(|place| Scout { _place: place })
            } => scout,
        }
    }

    /// A request was taken: everybody may ask.
    pub(super) fn taken(&self) {
        self.taken.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_ask_and_all_hear_of_success() {
        let (scouts, asked) = (Scouts::default(), AtomicUsize::new(0));
        let requests = join_all((0..1000).map(|_| async {
            while let Some(scout) = scouts.turn().await {
                asked.fetch_add(1, Ordering::Relaxed);
                drop(scout);
            }
        }));
        let second = async {
            tokio::time::sleep(Duration::from_millis(1050)).await;
            scouts.taken();
        };
        tokio::join!(requests, second);
        assert_eq!(asked.load(Ordering::Relaxed), 10 * SCOUTS);
    }
}
