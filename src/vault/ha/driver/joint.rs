//! [`Joint`]: one question for all who want to ask the same at the same time.
//!
//! An answer counts for a caller only if the question was sent after he came. So nobody joins a question that is under
//! way: whoever comes meanwhile waits for its end, and shares the next one with all others who wait.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::member::lock;

type Round<T> = Shared<BoxFuture<'static, T>>;

struct State<T: Clone> {
    /// Who is asked.
    peer: String,
    /// Held while a question is under way.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The next question, until it is sent.
    next: Option<Round<T>>,
}

impl<T: Clone> State<T> {
    fn new(peer: &str) -> Self {
        Self { peer: peer.to_owned(), turn: Arc::default(), next: None }
    }
}

/// Questions to one peer, one after the other.
pub(in crate::vault::ha) struct Joint<T: Clone>(Mutex<State<T>>);

impl<T: Clone> Default for Joint<T> {
    fn default() -> Self {
        Self(Mutex::new(State::new("")))
    }
}

impl<T: Clone + Send + Sync + 'static> Joint<T> {
    /// The answer of `peer` to a question that is sent after this call: `question`, or that of another caller.
    ///
    /// A question to another peer than before waits for none. The caller bounds the time of `question`; this call may
    /// take twice as long, since it waits for the question before.
    pub(in crate::vault::ha) async fn ask<F>(
        self: &Arc<Self>,
        peer: &str,
        question: impl FnOnce() -> F + Send + 'static,
    ) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.join(peer, question).await
    }

    fn join<F>(self: &Arc<Self>, peer: &str, question: impl FnOnce() -> F + Send + 'static) -> Round<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut state = lock(&self.0);
        if state.peer != peer {
            *state = State::new(peer);
        }
        if let Some(round) = &state.next {
            return round.clone();
        }
        let (joint, turn) = (Arc::clone(self), Arc::clone(&state.turn));
        let round = async move {
            let _turn = turn.lock().await;
            joint.close(&turn);
            question().await
        };
        let round = round.boxed().shared();
        state.next = Some(round.clone());
        round
    }

    /// From here on callers need a later question.
    fn close(&self, turn: &Arc<tokio::sync::Mutex<()>>) {
        let mut state = lock(&self.0);
        if Arc::ptr_eq(&state.turn, turn) {
            state.next = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::base::task;

    /// Counts questions; each takes a second and is answered with its number.
    fn question(asked: &Arc<AtomicU32>) -> impl FnOnce() -> BoxFuture<'static, u32> + Send + 'static {
        let asked = Arc::clone(asked);
        move || {
            let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_secs(1)).map(move |()| number).boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_joins_a_question_that_was_sent_before_and_all_others_share_the_next() {
        let (joint, asked) = (Arc::new(Joint::default()), Arc::new(AtomicU32::new(0)));
        let first = joint.join("a", question(&asked));
        let same = joint.join("a", question(&asked));
        task::spawn("first", first.clone().map(drop));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1, "under way");
        let later = (0..10).map(|_| joint.join("a", question(&asked)));
        let later = futures_util::future::join_all(later.collect::<Vec<_>>()).await;
        assert_eq!(later, vec![2; 10]);
        assert_eq!((first.await, same.await), (1, 1));
        assert_eq!(joint.ask("a", question(&asked)).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_to_another_peer_waits_for_none() {
        let (joint, asked) = (Arc::new(Joint::default()), Arc::new(AtomicU32::new(0)));
        task::spawn("silent", joint.join("a", std::future::pending::<u32>).map(drop));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(joint.ask("b", question(&asked)).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_go_hold_nobody_up() {
        let (joint, asked) = (Arc::new(Joint::default()), Arc::new(AtomicU32::new(0)));
        for _ in 0..2 {
            let gone = tokio::time::timeout(Duration::from_millis(10), joint.ask("a", question(&asked)));
            assert!(gone.await.is_err());
        }
        // One that was never sent, and whose callers are gone.
        task::spawn("under way", joint.join("a", question(&asked)).map(drop));
        drop(joint.join("a", question(&asked)));
        let answer = tokio::time::timeout(Duration::from_secs(3), joint.ask("a", question(&asked)));
        assert!(answer.await.is_ok());
    }
}
