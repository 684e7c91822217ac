//! What nodes say to each other, and how a node asks another.
//!
//! The messages travel over mutually authenticated TLS, as HTTP/1.1 or, where every read waits for them, as bare frames
//! (`vault::http` implements [`PeerClient`] and calls [`Ha::answer`] on the serving side). Nothing here decides who leads:
//! the head does.
//!
//! [`Ha::answer`]: super::Ha::answer

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::clock::UnixMillis;
use crate::vault::physical::{ActiveRecord, Head};

/// Where a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// The identity that the answer is expected from.
    pub identity: String,
    /// Its cluster address, a URL.
    pub cluster_addr: String,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its identity.
    pub identity: String,
    /// Its API address.
    pub api_addr: String,
    /// Its cluster address.
    pub cluster_addr: String,
    /// Its version.
    pub version: String,
    /// Whether it is unsealed and nothing keeps it from becoming active.
    pub is_able: bool,
    /// Whether it takes over only if it is asked to, because it has just stepped down.
    #[serde(default)]
    pub is_resting: bool,
    /// Whether it is the active node.
    pub is_active: bool,
    /// The newest head that its local state has reached.
    pub head: Option<Head>,
    /// The highest storage format that it can write.
    pub format: u32,
    /// Its wall clock.
    pub time: UnixMillis,
}

/// A question to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerRequest {
    /// Here I am; who are you? Sent by every node to the active one twice a second.
    Hello(NodeReport),
    /// Make a quorum check now and say whether it succeeded.
    ReachStorage,
    /// The newest acknowledged head, with leadership proven after it was noted.
    ReadIndex,
    /// Wait until the head with this sequence number is acknowledged, and prove leadership after that.
    ConfirmHead {
        /// The sequence number.
        seq: u64,
    },
    /// The active node is about to hand over to you: catch up to this head and check the storage.
    PrepareHandover {
        /// The active node's newest acknowledged head.
        head: Head,
    },
    /// The lock now names you as successor; the sender has renounced this epoch. A hint to look at the lock at once.
    Renounced {
        /// The epoch.
        epoch: u64,
    },
}

/// The answer of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerResponse {
    /// Answer to [`PeerRequest::Hello`]. An active node that proved its leadership lately says so in `proven`.
    Hello {
        /// The peer itself.
        report: Box<NodeReport>,
        /// The acknowledged head of an active node, proven at most `proven_ms_ago` milliseconds before the answer.
        proven: Option<Head>,
        /// See `proven`.
        proven_ms_ago: u64,
        /// How far the median of the nodes' wall clocks is ahead of the active node's own, in milliseconds (negative:
        /// behind). Absent if it knows fewer than three.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        median_ahead_ms: Option<i64>,
    },
    /// The head of a proof that was asked for.
    Head(Head),
    /// Done.
    Done,
    /// The peer is not the active node.
    NotActive {
        /// The active node, if it knows one.
        leader: Option<ActiveRecord>,
    },
    /// The peer could not do it.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Why a peer gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeerError {
    /// Nothing was sent: no route, no certificate yet, name not found.
    #[error("nothing was sent to the peer: {0}")]
    NotSent(String),
    /// The peer's host refused a *new* connection: nothing listens there.
    #[error("the peer refused the connection: {0}")]
    Refused(String),
    /// An established connection was reset or closed before the answer; or had been closed by the peer while idle.
    #[error("the peer closed the connection: {0}")]
    Reset(String),
    /// No answer in time.
    #[error("the peer did not answer in time: {0}")]
    Timeout(String),
    /// Another failure after something was sent.
    #[error("the peer's answer was lost: {0}")]
    Maybe(String),
}

/// Asks peers.
#[async_trait]
pub trait PeerClient: Send + Sync {
    /// Sends `message` to `peer` and waits for its answer; the caller bounds the time by dropping the future. The
    /// implementation verifies that the answering certificate belongs to this cluster. An ask must not succeed with
    /// a node of another identity than `peer.identity` unless the message is [`PeerRequest::Hello`].
    ///
    /// # Errors
    /// See [`PeerError`]; the distinction between [`PeerError::Refused`] and the others is evidence that elections
    /// rest on, so when in doubt it is another one.
    async fn ask(&self, peer: &PeerAddress, message: PeerRequest) -> Result<PeerResponse, PeerError>;
}

/// A client for a node without peers: nothing is ever sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

#[async_trait]
impl PeerClient for NoPeers {
    async fn ask(&self, _peer: &PeerAddress, _message: PeerRequest) -> Result<PeerResponse, PeerError> {
        Err(PeerError::NotSent("this node has no peers".to_owned()))
    }
}
