//! Watches that only wake: whoever is woken reads the key himself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::client::Client;
use crate::base::backoff::Backoff;
use crate::base::random::{Random, SystemRandom};
use crate::base::task::{self, Guarded};

/// Delays before a watch that ended is opened again; readers look once a second whatever happens.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const MOST_DELAY: Duration = Duration::from_secs(1);

/// How often a reader looks when its watch says nothing.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// A watch on one key, until it is dropped.
pub(super) struct KeyWatch {
    moved: watch::Sender<()>,
    _task: Guarded<()>,
}

impl KeyWatch {
    /// Begins to watch. Must be called on a Tokio runtime.
    pub(super) fn start(client: Arc<Client>, key: Bytes) -> Self {
        let moved = watch::Sender::new(());
        let task = task::guard("etcd-watch", run(client, key, moved.clone()));
        Self { moved, _task: task }
    }

    /// Changes whenever the key may have.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }
}

async fn run(client: Arc<Client>, key: Bytes, moved: watch::Sender<()>) {
    let random: &dyn Random = &SystemRandom;
    let mut backoff = Backoff::new(FIRST_DELAY, MOST_DELAY);
    loop {
        match client.watch(key.clone()).await {
            Err(failure) => {
                tracing::debug!(reason = failure.reason(), "a watch cannot be opened at the moment")
            }
            Ok((connection, mut events)) => {
                loop {
                    let event = tokio::select! {
                        () = connection.left.cancelled() => break,
                        event = events.message() => event,
                    };
                    match event {
                        Ok(Some(event)) if !event.canceled => {
                            backoff.reset();
                            // The first one says that the watch has begun: what happened before it may have been missed.
                            moved.send_replace(());
                        }
                        Ok(Some(event)) => {
                            tracing::debug!(reason = event.cancel_reason, "a watch was cancelled");
                            break;
                        }
                        Ok(None) => break,
                        Err(status) => {
                            tracing::debug!(reason = status.message(), "a watch ended");
                            client.leave(&connection);
                            break;
                        }
                    }
                }
                moved.send_replace(());
            }
        }
        tokio::time::sleep(backoff.next_delay(random)).await;
    }
}
