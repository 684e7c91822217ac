//! [`Pool`]: connections to peers, with outcomes that say exactly what is known when a request fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cluster::ClusterTls;
use super::dial;
use crate::base::task;

/// Longest wait for a place among those that connect: as long as a handshake may take.
const PLACE: Duration = dial::HANDSHAKE;
/// Connections to one peer that are being made at a time. Whoever waits for a place may get one that became idle: a burst of
/// requests needs few connections, and a peer that does not answer is not left with thousands of them.
const CONNECTING: usize = 32;
/// Idle connections kept for one peer.
const IDLE: usize = 64;
/// Peers that connections are kept for; further ones get connections of one use.
const PEERS: usize = 64;
/// Largest answer that is passed on.
const ANSWER_BYTES: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SendError {
    /// The peer certainly has not seen the request.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// Nothing was sent, since the peer's host refused a new connection.
    #[error("connection refused: {0}")]
    Refused(String),
    /// The connection broke before the answer was complete: the request may have been carried out.
    #[error("the connection was closed before the answer: {0}")]
    Closed(String),
    /// The answer cannot be used: the request has been carried out.
    #[error("the answer cannot be used: {0}")]
    Answer(String),
}

impl SendError {
    /// Whether the peer certainly has not seen the request.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::NotSent(_) | Self::Refused(_))
    }
}

type Sender = SendRequest<Full<Bytes>>;

struct Host {
    idle: Vec<Sender>,
    /// An idle connection was found closed by the other side.
    lost: bool,
    connecting: Arc<Semaphore>,
}

impl Default for Host {
    fn default() -> Self {
        Self { idle: Vec::new(), lost: false, connecting: Arc::new(Semaphore::new(CONNECTING)) }
    }
}

/// Connections to peers over mutual TLS, kept open between requests.
pub(crate) struct Pool {
    tls: Arc<ClusterTls>,
    hosts: Mutex<HashMap<String, Host>>,
}

impl Pool {
    /// A pool that speaks `tls`.
    pub(crate) fn new(tls: Arc<ClusterTls>) -> Self {
        Self { tls, hosts: Mutex::default() }
    }

    /// Sends `request` (its URI is a path and query) to the peer at `address` (a URL) and reads the whole answer.
    /// Dropping the future closes the connection, so that the peer stops as well.
    ///
    /// # Errors
    /// See [`SendError`].
    pub(crate) async fn send(
        &self,
        address: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, SendError> {
        let mut request = request;
        let mut place = None;
        loop {
            while let Some(mut sender) = self.take(address) {
                // Nothing needs to be connected: the place is somebody else's.
                place = None;
                // The connection's task may not have noticed yet that the answer before was read to its end.
                if sender.ready().await.is_err() {
                    self.host(address, |host| host.lost = true);
                    continue;
                }
                match sender.try_send_request(request).await {
                    Ok(response) => return self.finish(address, sender, response).await,
                    Err(mut failed) => match failed.take_message() {
                        // hyper gives the request back if no byte of it was written: another connection may do.
                        Some(unsent) => {
                            self.host(address, |host| host.lost = true);
                            request = unsent;
                        }
                        None => return Err(SendError::Closed(chain(&failed.into_error()))),
                    },
                }
            }
            if place.is_some() {
                break;
            }
            place = Some(self.place(address).await?);
        }
        let mut sender = self.connect(address).await?;
        drop(place);
        match sender.try_send_request(request).await {
            Ok(response) => self.finish(address, sender, response).await,
            Err(mut failed) => {
                let is_unsent = failed.take_message().is_some();
                let reason = chain(&failed.into_error());
                Err(if is_unsent { SendError::NotSent(reason) } else { SendError::Closed(reason) })
            }
        }
    }

    /// A place among those that connect to `address`.
    async fn place(&self, address: &str) -> Result<OwnedSemaphorePermit, SendError> {
        let places = self.host(address, |host| Arc::clone(&host.connecting));
        match tokio::time::timeout(PLACE, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(SendError::NotSent(format!(
                "{CONNECTING} connections to {address} are being made, and none was within {PLACE:?}"
            ))),
        }
    }

    /// Whether a kept connection to `address` was closed by the other side since this was asked last.
    pub(crate) fn take_lost(&self, address: &str) -> bool {
        self.host(address, |host| {
            let before = host.idle.len();
            host.idle.retain(|sender| !sender.is_closed());
            let lost = host.lost || host.idle.len() < before;
            host.lost = false;
            lost
        })
    }

    async fn finish(
        &self,
        address: &str,
        sender: Sender,
        response: Response<hyper::body::Incoming>,
    ) -> Result<Response<Bytes>, SendError> {
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|error| {
            match error.downcast_ref::<http_body_util::LengthLimitError>() {
                Some(_) => SendError::Answer(format!("it is larger than {ANSWER_BYTES} bytes")),
                None => SendError::Closed(error.to_string()),
            }
        })?;
        self.host(address, |host| {
            if host.idle.len() < IDLE && !sender.is_closed() {
                host.idle.push(sender);
            }
        });
        Ok(Response::from_parts(parts, body.to_bytes()))
    }

    fn take(&self, address: &str) -> Option<Sender> {
        self.host(address, |host| {
            while let Some(sender) = host.idle.pop() {
                if !sender.is_closed() {
                    return Some(sender);
                }
                host.lost = true;
            }
            None
        })
    }

    fn host<T>(&self, address: &str, act: impl FnOnce(&mut Host) -> T) -> T {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= PEERS && !hosts.contains_key(address) {
            // Addresses of pods come and go; whoever is still there connects again.
            hosts.clear();
        }
        act(hosts.entry(address.to_owned()).or_default())
    }

    async fn connect(&self, address: &str) -> Result<Sender, SendError> {
        let client = self.tls.client().ok_or_else(|| SendError::NotSent("this node is sealed".to_owned()))?;
        let stream = dial::dial(address, client).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| SendError::NotSent(chain(&error)))?;
        // The task ends with the connection: when either side closes it or the sender is dropped.
        task::spawn("peer connection", connection);
        Ok(sender)
    }
}

/// The error with everything below it: hyper's own text hides the cause.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
