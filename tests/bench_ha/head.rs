//! Who leads, as the journal of the storage tells it from outside.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::vault::physical::{Backend, FeedEvent, Head};
use tokio::task::JoinHandle;

use crate::http::until;

const PATIENCE: Duration = Duration::from_secs(60);

/// A claim of leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub epoch: u64,
    /// The number of its commit: what has a higher one was committed under it.
    pub seq: u64,
}

/// Follows the claims.
pub struct Claims {
    seen: Arc<Mutex<Vec<Claim>>>,
    task: JoinHandle<()>,
}

impl Claims {
    /// Follows the journal of `backend`.
    pub async fn follow(backend: Arc<dyn Backend>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let claims = Self { task: tokio::spawn(follow(backend, Arc::clone(&seen))), seen };
        until("the head", PATIENCE, || async {
            if claims.newest().is_some() { Ok(()) } else { Err("no head".to_owned()) }
        })
        .await;
        claims
    }

    /// The newest claim.
    pub fn newest(&self) -> Option<Claim> {
        self.seen.lock().unwrap().last().copied()
    }

    /// The first claim of a later epoch.
    pub fn after(&self, epoch: u64) -> Option<Claim> {
        self.seen.lock().unwrap().iter().find(|claim| claim.epoch > epoch).copied()
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(backend: Arc<dyn Backend>, seen: Arc<Mutex<Vec<Claim>>>) {
    let mut at: Option<Head> = None;
    loop {
        let opened = tokio::time::timeout(Duration::from_secs(10), backend.follow(at.clone())).await;
        let Ok(Ok(mut feed)) = opened else {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        while let Ok(event) = feed.next().await {
            let head = match event {
                FeedEvent::Record(record) => Some(record.head),
                FeedEvent::Reset { head } => head,
            };
            if let Some(head) = &head {
                let claim = Claim { epoch: head.epoch, seq: head.seq };
                let mut seen = seen.lock().unwrap();
                if seen.last().is_none_or(|last| last.epoch < claim.epoch) {
                    seen.push(claim);
                }
            }
            at = head;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
