//! Questions between nodes: [`Peers`] asks, [`serve`] answers.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body as HttpBody;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::cluster::ClusterTls;
use super::forward::NODE;
use super::line::Lines;
use super::pool::{Pool, SendError};
use super::respond;
use crate::vault::ha::{Ha, PeerAddress, PeerClient, PeerError, PeerRequest, PeerResponse};

/// The path of questions on the cluster listener.
pub(super) const PATH: &str = "/peer";
/// Largest question.
pub(super) const QUESTION_BYTES: usize = 64 << 10;

/// Asks peers over the cluster's mutual TLS.
pub(crate) struct Peers {
    pool: Arc<Pool>,
    lines: Lines,
    own: String,
}

impl Peers {
    /// Asks in the name of the node `own`.
    pub(crate) fn new(pool: Arc<Pool>, tls: Arc<ClusterTls>, own: String) -> Self {
        Self { pool, lines: Lines::new(tls, own.clone()), own }
    }
}

#[async_trait]
impl PeerClient for Peers {
    async fn ask(&self, peer: &PeerAddress, message: PeerRequest) -> Result<PeerResponse, PeerError> {
        // Asked for every read; one at a time.
        if matches!(message, PeerRequest::ReadIndex) {
            return self.lines.ask(peer, &message).await;
        }
        // A sign of life is what greetings are for; any other question is better asked on a new connection.
        if matches!(message, PeerRequest::Hello(_)) && self.pool.take_lost(&peer.cluster_addr) {
            return Err(PeerError::Reset("an idle connection was closed by the peer".to_owned()));
        }
        let not_sent = |error: &dyn std::fmt::Display| PeerError::NotSent(error.to_string());
        let body = serde_json::to_vec(&message).map_err(|error| not_sent(&error))?;
        let own = HeaderValue::from_str(&self.own).map_err(|error| not_sent(&error))?;
        let authority = peer.cluster_addr.split("://").last().unwrap_or_default();
        let request = Request::builder()
            .method(Method::POST)
            .uri(PATH)
            .header(header::HOST, authority)
            .header(NODE, own)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| not_sent(&error))?;
        let response = self.pool.send(&peer.cluster_addr, request).await?;
        let speaker = response.headers().get(NODE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if speaker != peer.identity && !matches!(message, PeerRequest::Hello(_)) {
            return Err(stranger(speaker, peer));
        }
        if response.status() != StatusCode::OK {
            return Err(PeerError::Maybe(format!("the peer answered with status {}", response.status())));
        }
        serde_json::from_slice(response.body()).map_err(|error| PeerError::Maybe(error.to_string()))
    }
}

impl From<SendError> for PeerError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent(reason) => Self::NotSent(reason),
            SendError::Refused(reason) => Self::Refused(reason),
            SendError::Closed(reason) => Self::Reset(reason),
            SendError::Answer(reason) => Self::Maybe(reason),
        }
    }
}

/// `speaker` has answered a question to `peer`.
pub(super) fn stranger(speaker: &str, peer: &PeerAddress) -> PeerError {
    PeerError::Maybe(format!("{speaker} answered in the place of {}", peer.identity))
}

/// Answers the question in `body` that the node `from` asks.
pub(super) async fn serve(ha: &Ha, from: &str, body: &[u8]) -> Response<HttpBody> {
    let Ok(question) = serde_json::from_slice::<PeerRequest>(body) else {
        return respond::empty(StatusCode::BAD_REQUEST);
    };
    let answer = ha.answer(from, question).await;
    let mut response = match serde_json::to_value(&answer) {
        Ok(value) => respond::json(StatusCode::OK, &value),
        Err(_) => respond::empty(StatusCode::INTERNAL_SERVER_ERROR),
    };
    if let Ok(own) = HeaderValue::from_str(&ha.settings().identity) {
        response.headers_mut().insert(NODE, own);
    }
    response
}
