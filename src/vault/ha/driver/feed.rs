//! Following the journal, and watching the lock.

use std::sync::Arc;
use std::time::Duration;

use super::member::Shared;
use crate::base::backoff::Backoff;
use crate::vault::ha::election::Event;
use crate::vault::physical::{Feed, FeedEvent, HaBackend, Head};

/// Delays before the storage or the lock is tried again.
const FIRST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(1);

impl Shared {
    /// Follows the journal until shutdown.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut backoff = Backoff::new(FIRST, MOST);
        loop {
            let from: Option<Head> = self.followed.borrow().clone();
            if let Ok(mut feed) = self.parts.backend.follow(from).await {
                self.follow_feed(&mut *feed, &mut backoff).await;
            }
            if !self.parts.shutdown.sleep(backoff.next_delay(&*self.parts.random)).await {
                return;
            }
        }
    }

    async fn follow_feed(&self, feed: &mut dyn Feed, backoff: &mut Backoff) {
        loop {
            let event = tokio::select! {
                event = feed.next() => event,
                () = self.parts.shutdown.wait() => return,
            };
            match event {
                Ok(event) => {
                    backoff.reset();
                    self.take_in(event).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the journal cannot be followed at the moment");
                    if !self.parts.shutdown.sleep(backoff.next_delay(&*self.parts.random)).await {
                        return;
                    }
                }
            }
        }
    }

    async fn take_in(&self, event: FeedEvent) {
        match &event {
            FeedEvent::Record(record) => {
                if let Some(term) = self.term() {
                    term.on_journal(record);
                }
                let head = record.head.clone();
                self.note_head(&head);
                // Caches learn of the change before anybody is told that this node has reached it.
                self.publish(event);
                self.followed.send_replace(Some(head.clone()));
                self.tell(Event::Saw(head)).await;
            }
            FeedEvent::Reset { head } => {
                let head = head.clone();
                self.publish(event);
                self.followed.send_replace(head.clone());
                // A reset may come from a lagging replica or from a storage that went back: a quorum check tells,
                // and tells the election, which judges it.
                let _ = self.check_for(0).await;
                if let Some(head) = head {
                    self.tell(Event::Saw(head)).await;
                }
            }
        }
    }

    fn publish(&self, event: FeedEvent) {
        // Without a subscriber there is nobody to tell.
        let _ = self.feed.send(event);
    }

    /// Watches the lock until shutdown.
    pub(super) async fn watch_lock(self: Arc<Self>, lock: Arc<dyn HaBackend>) {
        let mut backoff = Backoff::new(FIRST, MOST);
        loop {
            match lock.watch().await {
                Ok(mut watch) => loop {
                    let changed = tokio::select! {
                        changed = watch.changed() => changed,
                        () = self.parts.shutdown.wait() => return,
                    };
                    match changed {
                        Ok(content) => {
                            backoff.reset();
                            self.tell(Event::Lock { number: 0, content }).await;
                        }
                        Err(error) => {
                            tracing::debug!(%error, "the lock cannot be watched at the moment");
                            self.tell(Event::LockAway).await;
                            break;
                        }
                    }
                },
                Err(error) => {
                    tracing::debug!(%error, "the lock cannot be watched at the moment");
                    self.tell(Event::LockAway).await;
                }
            }
            if !self.parts.shutdown.sleep(backoff.next_delay(&*self.parts.random)).await {
                return;
            }
        }
    }
}
