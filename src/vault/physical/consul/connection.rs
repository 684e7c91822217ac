//! Connections to agents: kept open between requests, with outcomes that say exactly what is known when one fails.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::Address;
use crate::base::{task, tcp};
use crate::config::ClientTls;
use crate::vault::physical::tls;
use crate::vault::physical::unusable::Unusable;

/// Longest time of a new TCP connection.
const CONNECT: Duration = Duration::from_secs(1);
/// Longest time of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Idle connections that are kept: as many as there can be requests. Consul counts those that are dropped until it gets
/// to read that, so that dropping some with every burst would go beyond its limit.
const IDLE: usize = 64;
/// Largest answer that is read.
pub(super) const ANSWER_BYTES: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The agent cannot be reached, or went away; it may come back.
    Away(String),
    /// The agent's certificate is not one to trust.
    Untrusted(String),
    /// The agent does not accept this node's certificate.
    Rejected(String),
    /// What came is not what was expected at this address: TLS, or HTTP.
    Foreign(String),
    /// The answer is larger than [`ANSWER_BYTES`].
    TooLarge,
    /// A file of the configuration cannot be used.
    File(Unusable),
}

impl Fault {
    /// What happened, for a person.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Away(reason) => reason.clone(),
            Self::Untrusted(reason) => format!("its certificate is not trusted: {reason}"),
            Self::Rejected(reason) => format!("it does not accept this node's certificate: {reason}"),
            Self::Foreign(reason) => format!("it does not answer as Consul does: {reason}"),
            Self::TooLarge => format!("its answer is larger than {} MiB", ANSWER_BYTES >> 20),
            Self::File(unusable) => unusable.to_string(),
        }
    }
}

/// A request that has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unanswered {
    pub(super) fault: Fault,
    /// Whether the agent certainly has not seen it.
    pub(super) is_unsent: bool,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// `X-Consul-Index`; no other server sends it.
    pub(super) fn index(&self) -> Option<u64> {
        self.headers.get("x-consul-index")?.to_str().ok()?.parse().ok()
    }

    /// The beginning of the body as text, for messages.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line = text.trim().lines().next().unwrap_or_default();
        let shown: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
        if shown.is_empty() {
            format!("status {}", self.status)
        } else {
            format!("{shown} ({})", self.status)
        }
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// Connections to one agent.
pub(super) struct Agent {
    pub(super) address: Address,
    tls: Arc<ClientTls>,
    idle: Mutex<Vec<Sender>>,
}

impl Agent {
    pub(super) fn new(address: Address, tls: Arc<ClientTls>) -> Self {
        Self { address, tls, idle: Mutex::default() }
    }

    /// A connection: an idle one (true), or a new one, for which certificate and key are read from their files again.
    pub(super) async fn connection(&self) -> Result<(Sender, bool), Unanswered> {
        while let Some(mut sender) = self.take() {
            // The connection's task may not have noticed yet that the answer before was read to its end.
            if sender.ready().await.is_ok() {
                return Ok((sender, true));
            }
        }
        let connected = self.connect().await.map_err(|fault| Unanswered { fault, is_unsent: true })?;
        Ok((connected, false))
    }

    /// Sends `request` over `sender` and reads the whole answer. If no byte of it was written, the request is given
    /// back with the failure. Dropping the future closes the connection.
    pub(super) async fn exchange(
        &self,
        mut sender: Sender,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, (Unanswered, Option<Request<Full<Bytes>>>)> {
        let response = match sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut failed) => {
                let unsent = failed.take_message();
                let fault = fault_of(&failed.into_error());
                return Err((Unanswered { fault, is_unsent: unsent.is_some() }, unsent));
            }
        };
        let (parts, body) = response.into_parts();
        let body = whole(body).await.map_err(|fault| (Unanswered { fault, is_unsent: false }, None))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && !sender.is_closed() {
            idle.push(sender);
        }
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Forgets the idle connections: the agent does not answer, or who this node is has changed.
    pub(super) fn hang_up(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let sender = idle.pop()?;
            if !sender.is_closed() {
                return Some(sender);
            }
        }
    }

    /// Why the agent closes a connection on which nothing was asked, if it does.
    pub(super) async fn refusal(&self) -> Option<Fault> {
        if !self.address.is_tls {
            return None;
        }
        tls::last_words(self.dial_tls(), |error| fault_of(error)).await
    }

    async fn connect(&self) -> Result<Sender, Fault> {
        if self.address.is_tls {
            shake(TokioIo::new(self.dial_tls().await?)).await
        } else {
            shake(TokioIo::new(self.dial().await?)).await
        }
    }

    async fn dial(&self) -> Result<TcpStream, Fault> {
        let Address { host, port, .. } = &self.address;
        match tokio::time::timeout(CONNECT, TcpStream::connect((host.as_str(), *port))).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                let _ = tcp::end_when_silent(&stream);
                Ok(stream)
            }
            Ok(Err(error)) => Err(Fault::Away(error.to_string())),
            Err(_) => Err(Fault::Away(format!("no connection within {} s", CONNECT.as_secs()))),
        }
    }

    async fn dial_tls(&self) -> Result<TlsStream<TcpStream>, Fault> {
        let stream = self.dial().await?;
        let config = tls::client_config(&self.tls, &["http/1.1"]).await.map_err(Fault::File)?;
        let name = tls::expected_name(self.tls.server_name.as_deref(), &self.address.host);
        let name = name.map_err(Fault::File)?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(fault_of(&error)),
            Err(_) => Err(Fault::Away(format!("no TLS handshake within {} s", HANDSHAKE.as_secs()))),
        }
    }
}

async fn shake<T>(io: TokioIo<T>) -> Result<Sender, Fault>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|error| fault_of(&error))?;
    // The task ends with the connection: when either side closes it or the sender is dropped.
    task::spawn("consul connection", connection);
    Ok(sender)
}

async fn whole(body: Incoming) -> Result<Bytes, Fault> {
    match Limited::new(body, ANSWER_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.downcast_ref::<http_body_util::LengthLimitError>().is_some() => {
            Err(Fault::TooLarge)
        }
        Err(error) => Err(Fault::Away(error.to_string())),
    }
}

/// What lies at the bottom of a failure.
fn fault_of(error: &(dyn Error + 'static)) -> Fault {
    let mut text = error.to_string();
    let mut next = Some(error);
    while let Some(cause) = next {
        let below = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(tls) = below.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return tls_fault(tls);
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Fault::Foreign(text);
        }
        next = cause.source();
        if let Some(more) = next.map(ToString::to_string)
            && !text.contains(&more)
        {
            text.push_str(": ");
            text.push_str(&more);
        }
    }
    Fault::Away(text)
}

fn tls_fault(error: &rustls::Error) -> Fault {
    match error {
        rustls::Error::InvalidCertificate(_) => Fault::Untrusted(error.to_string()),
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => Fault::Rejected(error.to_string()),
        rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. }
        | rustls::Error::PeerIncompatible(_)
        | rustls::Error::PeerMisbehaved(_)
        | rustls::Error::AlertReceived(_) => Fault::Foreign(error.to_string()),
        other => Fault::Away(other.to_string()),
    }
}
