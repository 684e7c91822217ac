//! Greeting the active node: learns whether it lives, and lets it know who could take over.

use std::sync::Arc;
use std::time::Duration;

use super::member::{Shared, lock};
use crate::vault::ha::election::{Event, Sign};
use crate::vault::ha::peer::{PeerAddress, PeerError, PeerRequest, PeerResponse};
use crate::vault::ha::settings::pod_and_uid_of;

/// Time between greetings.
const GREETING: Duration = Duration::from_millis(500);

/// Time to the next greeting after one that failed.
const SOON: Duration = Duration::from_millis(100);

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(1);

impl Shared {
    /// Greets the active node until shutdown.
    pub(super) async fn greet(self: Arc<Self>) {
        loop {
            self.hint(Event::Able(self.parts.candidate.is_unsealed()));
            let pause = match self.leader_to_greet() {
                Some(peer) => self.greet_one(&peer).await,
                None => GREETING,
            };
            if !self.parts.shutdown.sleep(pause).await {
                return;
            }
        }
    }

    fn leader_to_greet(&self) -> Option<PeerAddress> {
        let active = lock(&self.view).active.clone()?;
        // An active node without an address speaks with nobody.
        if active.identity == self.parts.settings.identity || active.cluster_addr.is_empty() {
            return None;
        }
        Some(PeerAddress { identity: active.identity, cluster_addr: active.cluster_addr })
    }

    async fn greet_one(&self, peer: &PeerAddress) -> Duration {
        let sent_at = self.now();
        let hello = PeerRequest::Hello(self.report());
        let answer = tokio::time::timeout(ANSWER, self.parts.peers.ask(peer, hello)).await;
        let (sign, pause) = match answer {
            Ok(Ok(PeerResponse::Hello { report, proven, proven_ms_ago, median_ahead_ms })) => {
                let spoke = report.identity.clone();
                if let Some(ahead_ms) = median_ahead_ms
                    && self.now().since(sent_at) <= 2 * ANSWER
                {
                    let own = self.zero_of(self.unix());
                    let active = self.zero_of(report.time).saturating_sub(own);
                    self.hear_clocks(active.saturating_add(ahead_ms));
                }
                self.note_peer(&spoke, *report);
                if spoke == peer.identity {
                    if let Some(head) = proven {
                        let age = Duration::from_millis(proven_ms_ago);
                        let at = sent_at.since_origin().saturating_sub(age);
                        self.note_proof(crate::base::clock::Moment::from_origin(at), head);
                    }
                    (Some(Sign::Answered), GREETING)
                } else if pod_and_uid_of(&spoke) == pod_and_uid_of(&peer.identity) {
                    (Some(Sign::Replaced), GREETING)
                } else {
                    // The address belongs to another pod by now, which says nothing about the one that had it.
                    (None, GREETING)
                }
            }
            Ok(Err(PeerError::Reset(_))) => (Some(Sign::Closed), SOON),
            Ok(Err(PeerError::Refused(_))) => (Some(Sign::Refused), SOON),
            Ok(Ok(_) | Err(_)) | Err(_) => (None, GREETING),
        };
        if let Some(sign) = sign {
            self.hint(Event::Peer { identity: peer.identity.clone(), sign });
        }
        pause
    }
}
