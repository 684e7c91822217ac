//! What goes into the pipeline and what comes out.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::error::CoreError;
use crate::base::secret::SecretString;
use crate::vault::logical::Operation;
use crate::vault::physical::ledger::Confirmed;

/// A request as the HTTP face parsed it.
#[derive(Debug, Clone)]
pub struct Call {
    /// UUID of the request; the answer's `request_id`.
    pub id: String,
    /// What to do. POST and PUT are `Update`; the pipeline makes it `Create` where the engine says so.
    pub operation: Operation,
    /// The decoded path after `/v1/`, without a leading slash; lists end in `/`.
    pub path: String,
    /// Input: body fields, or query parameters for operations without a body.
    pub data: Map<String, Value>,
    /// The token as sent; empty if there was none.
    pub token: SecretString,
    /// Where the client's connection came from.
    pub remote: Option<IpAddr>,
    /// `X-Vault-Wrap-TTL` in seconds.
    pub wrap_ttl_seconds: Option<u64>,
    /// Most staleness that a read accepts, in milliseconds; zero is linearizable. Not all paths make use of it: see
    /// [`Call::staleness_ms`].
    pub max_staleness_ms: u64,
}

/// Paths whose answers are current whatever staleness a request accepts: an answer that a token or a lease is still
/// valid, or what is wrapped in one, must not be older than its revocation.
const CURRENT: [&str; 4] = ["auth/token/", "cubbyhole/", "sys/leases/", "sys/wrapping/"];

impl Call {
    /// The staleness that the answer may have, in milliseconds.
    pub fn staleness_ms(&self) -> u64 {
        if CURRENT.iter().any(|prefix| self.path.starts_with(prefix)) { 0 } else { self.max_staleness_ms }
    }
}

/// How a call ended.
#[derive(Debug)]
pub enum Outcome {
    /// An answer, errors of the request included; everything that it depended on is committed.
    Reply(Reply),
    /// This node cannot carry it out and has written nothing: forward it to the active node.
    NeedsActive,
    /// There is no answer that could be proven right: sealed, storage away, outcome unknown, overloaded.
    Failed(CoreError),
}

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Body,
    /// The heads that prove the answer; its position is `X-Vault-Index`.
    pub confirmed: Confirmed,
    /// What the answer asks the node to do once it has been sent.
    pub effect: Option<Effect>,
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// No body (204).
    Empty,
    /// `application/json`: the envelope, or `{"errors": …}`.
    Json(Map<String, Value>),
    /// Anything else.
    Raw {
        /// Content type.
        content_type: &'static str,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// What an answer asks the node to do besides being sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Seal this node: the node gives up leadership, then calls `Core::seal`.
    Seal,
    /// Hand leadership over.
    StepDown,
}
