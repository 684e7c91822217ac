//! The feeds of a cache: from its memory, and from the storage for what is older.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::Shared;
use crate::vault::physical::backend::{Feed, FeedEvent, StorageError};
use crate::vault::physical::head::Head;

/// What memory has for a feed.
enum Step {
    Event(FeedEvent),
    /// Nothing yet.
    Wait,
    /// What follows is older than what memory holds.
    Older(Head),
}

pub(super) struct CachedFeed {
    shared: Arc<Shared>,
    moved: watch::Receiver<()>,
    /// The head that was delivered last (inner `None`: an empty store); `None` before the first Reset.
    at: Option<Option<Head>>,
    /// The storage's own feed, while it tells what is older than memory.
    older: Option<Box<dyn Feed>>,
    /// What that feed told and memory has not taken in yet, and how often memory had begun anew by then.
    pending: Option<(FeedEvent, u64)>,
}

impl CachedFeed {
    pub(super) fn new(shared: Arc<Shared>, from: Option<Head>) -> Self {
        let moved = shared.moved.subscribe();
        Self { shared, moved, at: from.map(Some), older: None, pending: None }
    }

    fn step(&self) -> Step {
        let state = self.shared.state();
        let reset = |head: Option<Head>| Step::Event(FeedEvent::Reset { head });
        if state.resets == 0 && state.at.is_none() {
            // The storage has not been heard of yet.
            return Step::Wait;
        }
        match &self.at {
            None => reset(state.at.clone()),
            Some(None) => match &state.at {
                None => Step::Wait,
                now => reset(now.clone()),
            },
            Some(Some(from)) => match state.record_after(from) {
                Ok(Some(record)) => Step::Event(FeedEvent::Record(record.clone())),
                Ok(None) => Step::Wait,
                Err(()) => Step::Older(from.clone()),
            },
        }
    }

    fn deliver(&mut self, event: FeedEvent) -> FeedEvent {
        self.at = match &event {
            FeedEvent::Record(record) => Some(Some(record.head.clone())),
            FeedEvent::Reset { head } => Some(head.clone()),
        };
        event
    }

    /// Waits until memory has taken in what is pending, or has begun anew, and delivers it. Cancel-safe.
    async fn taken_in(&mut self) -> Option<FeedEvent> {
        loop {
            self.moved.mark_unchanged();
            {
                let (event, resets) = self.pending.as_ref()?;
                let told = match event {
                    FeedEvent::Record(record) => Some(&record.head),
                    FeedEvent::Reset { head } => head.as_ref(),
                };
                let state = self.shared.state();
                let is_in = told
                    .is_none_or(|told| state.at.as_ref().is_some_and(|at| at.position() >= told.position()));
                if is_in || state.resets != *resets {
                    break;
                }
            }
            // The sender lives as long as the cache that this feed holds: an error cannot happen.
            let _ = self.moved.changed().await;
        }
        let event = match self.pending.take()?.0 {
            // Where memory stands by now is what reads show.
            FeedEvent::Reset { .. } => FeedEvent::Reset { head: self.shared.state().at.clone() },
            record @ FeedEvent::Record(_) => record,
        };
        Some(self.deliver(event))
    }
}

#[async_trait]
impl Feed for CachedFeed {
    async fn next(&mut self) -> Result<FeedEvent, StorageError> {
        loop {
            if let Some(event) = self.taken_in().await {
                return Ok(event);
            }
            self.moved.mark_unchanged();
            match self.step() {
                Step::Event(event) => {
                    self.older = None;
                    return Ok(self.deliver(event));
                }
                Step::Wait => {
                    let _ = self.moved.changed().await;
                }
                Step::Older(from) => {
                    if self.older.is_none() {
                        self.older = Some(self.shared.inner.follow(Some(from)).await?);
                    }
                    let Some(feed) = &mut self.older else { continue };
                    let event = feed.next().await?;
                    if matches!(event, FeedEvent::Reset { .. }) {
                        // The storage does not know either.
                        self.older = None;
                    }
                    self.pending = Some((event, self.shared.state().resets));
                }
            }
        }
    }
}
