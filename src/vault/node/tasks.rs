//! What a node does beside requests: look for the vault, unseal itself, end what has expired.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, info, warn};

use crate::base::backoff::Backoff;
use crate::base::clock::Clock;
use crate::base::task::Shutdown;
use crate::vault::core::is_of_keys;
use crate::vault::ha::Role;
use crate::vault::http::lifecycle::Lifecycle;
use crate::vault::physical::FeedEvent;

/// Commits of one round of expiry.
const EXPIRY_STEPS: usize = 100;
/// Longest time between rounds of expiry: tokens made meanwhile may end earlier than the next known one.
const EXPIRY_ROUND: Duration = Duration::from_secs(1);

/// Learns of the vault once somebody made it, and unseals it if the seal does that by itself. Ends when both are
/// done: a node that is sealed by hand stays sealed.
pub(super) async fn find_vault(lifecycle: Arc<Lifecycle>, shutdown: Shutdown) {
    let mut status = lifecycle.ha.status();
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2));
    let is_automatic = lifecycle.core.parts().seal.automatic().is_some();
    let mut complaint = String::new();
    loop {
        let found = if is_automatic {
            lifecycle.auto_unseal().await
        } else {
            lifecycle.core.load(&*lifecycle.backend).await
        };
        match found {
            Ok(true) => return,
            Ok(false) if complaint.is_empty() => {
                complaint = "not initialised".to_owned();
                info!("the storage holds no vault yet: initialise it with `holdfast operator init`");
            }
            Ok(false) => {}
            Err(error) => {
                let text = error.to_string();
                if text != complaint {
                    warn!(error = %text, "the vault cannot be opened yet; trying on");
                    complaint = text;
                }
            }
        }
        // A change of what this node sees of the storage is worth another look at once.
        status.mark_unchanged();
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(backoff.next_delay(&*lifecycle.random)) => {}
            changed = status.changed() => if changed.is_err() { return },
        }
    }
}

/// Ends leases and tokens that are due, while this node is active.
pub(super) async fn expire(lifecycle: Arc<Lifecycle>, shutdown: Shutdown) {
    let mut complaint = String::new();
    loop {
        let is_active = matches!(lifecycle.ha.status().borrow().role, Role::Active { .. });
        let mut more = false;
        if is_active && let Ok(admission) = lifecycle.ha.admit() {
            match lifecycle.core.expire_due(Arc::clone(&admission.ledger), EXPIRY_STEPS).await {
                Ok(swept) => {
                    more = swept.more;
                    complaint.clear();
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != complaint {
                        warn!(error = %text, "expiry has to wait");
                        complaint = text;
                    }
                }
            }
        }
        // Between rounds there is always a pause, so that expiry never starves requests of commits.
        let pause = if more { EXPIRY_ROUND / 20 } else { EXPIRY_ROUND };
        if !shutdown.sleep(pause).await {
            return;
        }
    }
}

/// Takes up keys that another node has changed, as soon as the journal tells of it: later the key may be gone that
/// opens them.
pub(super) async fn follow_keys(lifecycle: Arc<Lifecycle>, shutdown: Shutdown) {
    let mut changes = lifecycle.ha.changes();
    loop {
        let event = tokio::select! {
            event = changes.recv() => event,
            () = shutdown.wait() => return,
        };
        match event {
            Ok(FeedEvent::Record(record)) if !record.keys.iter().any(|key| is_of_keys(key)) => continue,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        while let Err(error) = lifecycle.follow_keys().await {
            debug!(%error, "the keys cannot be read at the moment");
            if !shutdown.sleep(backoff.next_delay(&*lifecycle.random)).await {
                return;
            }
        }
    }
}

/// Renews the certificate towards peers.
pub(super) async fn renew_node_certificate(lifecycle: Arc<Lifecycle>, shutdown: Shutdown) {
    let clock: &dyn Clock = &*lifecycle.clock;
    lifecycle.cluster_tls.keep_fresh(clock, &*lifecycle.random, &shutdown).await;
}
