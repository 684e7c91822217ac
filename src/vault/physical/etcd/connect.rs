//! One connection to one member: TCP, TLS where it is asked for, HTTP/2, and the proof that etcd is there.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

use super::answer::{Answer, Failure, Trouble, describe};
use super::proto::{STATUS, StatusRequest, StatusResponse};
use super::tls::{CERTIFICATE, Tls, encrypt, refusal};
use crate::base::task::{self, Guarded};
use crate::vault::physical::unusable::Unusable;

/// The oldest version of etcd that will do.
const LEAST: &str = "3.4";
/// A ping while something waits for an answer. etcd takes more than one in 5 s for an attack.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a broken connection may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Most bytes of an answer: a page of the journal whose records all name the longest keys.
const ANSWER_BYTES: usize = 64 << 20;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A member's address out of the configuration.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// As messages show it: `https://host:port`.
    pub(super) text: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
    origin: Uri,
}

impl Address {
    /// Reads `http(s)://host[:port]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        let port = uri.port_u16().unwrap_or(2379);
        let text = format!("{}://{host}:{port}", if is_tls { "https" } else { "http" });
        let origin = text.parse().ok()?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { text, host, port, is_tls, origin })
    }
}

/// A connection. Calls share it.
pub(super) struct Connection {
    pub(super) address: String,
    /// Which of the configured addresses it is.
    pub(super) index: usize,
    pub(super) peer: SocketAddr,
    /// Cancelled when the connection is left for another one.
    pub(super) left: CancellationToken,
    /// The raft term that was heard of last; 0: of none.
    pub(super) term: AtomicU64,
    transport: Transport,
    origin: Uri,
    driver: Driver,
}

/// What moves the bytes of a connection; it ends with it.
struct Driver {
    /// Why the connection broke, once it has.
    end: watch::Receiver<Option<String>>,
    _task: Guarded<()>,
}

impl Driver {
    /// Why the connection broke: a call that breaks with it often learns only that it did.
    async fn reason(&self) -> Option<String> {
        let mut end = self.end.clone();
        let told = timeout(LAST_WORDS, end.wait_for(Option::is_some)).await;
        told.ok()?.ok()?.clone()
    }
}

/// Starts the tasks that HTTP/2 needs.
#[derive(Clone, Copy)]
struct Tasks;

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        task::spawn("etcd-stream", future);
    }
}

#[derive(Clone)]
struct Transport(SendRequest<tonic::body::Body>);

impl tower::Service<http::Request<tonic::body::Body>> for Transport {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// What a call carries besides its message.
#[derive(Clone, Copy, Default)]
pub(super) struct Extras<'t> {
    pub(super) token: Option<&'t AsciiMetadataValue>,
    /// A member that knows no leader answers at once instead of letting the call wait.
    pub(super) needs_leader: bool,
}

impl Connection {
    /// Connects to `peer`, which is one of the places that `address` names, and asks who is there.
    pub(super) async fn open(
        address: &Address,
        index: usize,
        peer: SocketAddr,
        tls: Option<&Tls>,
        token: Option<&AsciiMetadataValue>,
    ) -> Result<Self, Trouble> {
        let away = |error: std::io::Error| Trouble::Away(format!("{}: {error}", address.text));
        let stream = TcpStream::connect(peer).await.map_err(away)?;
        stream.set_nodelay(true).map_err(away)?;
        let shaken = match tls {
            None => handshake(address, stream).await,
            Some(tls) => handshake(address, encrypt(address, tls, stream).await?).await,
        };
        let vetted = match shaken {
            Ok((sender, driver)) => Self::new(address, index, peer, sender, driver).vetted(token).await,
            Err(trouble) => Err(trouble),
        };
        match (vetted, tls) {
            (Err(Trouble::Away(reason)), Some(tls)) => {
                Err(refusal(address, peer, tls).await.unwrap_or(Trouble::Away(reason)))
            }
            (vetted, _) => vetted,
        }
    }

    fn new(
        address: &Address,
        index: usize,
        peer: SocketAddr,
        sender: SendRequest<tonic::body::Body>,
        driver: Driver,
    ) -> Self {
        Self {
            address: address.text.clone(),
            index,
            peer,
            left: CancellationToken::new(),
            term: AtomicU64::new(0),
            transport: Transport(sender),
            origin: address.origin.clone(),
            driver,
        }
    }

    /// Whether the other end is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.transport.0.is_closed()
    }

    fn grpc(&self) -> Grpc<Transport> {
        Grpc::with_origin(self.transport.clone(), self.origin.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    /// Sends one message and waits for the answer, however long that takes.
    pub(super) async fn unary<Q, A>(
        &self,
        path: &'static str,
        message: Q,
        extras: Extras<'_>,
    ) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let request = dressed(message, extras);
        let codec = ProstCodec::<Q, A>::default();
        grpc.unary(request, PathAndQuery::from_static(path), codec).await.map(tonic::Response::into_inner)
    }

    /// Opens a stream both ways.
    pub(super) async fn streaming<Q, A>(
        &self,
        path: &'static str,
        messages: impl futures_util::Stream<Item = Q> + Send + 'static,
        extras: Extras<'_>,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc();
        grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let request = dressed(messages, extras);
        let codec = ProstCodec::<Q, A>::default();
        grpc.streaming(request, PathAndQuery::from_static(path), codec).await.map(tonic::Response::into_inner)
    }

    /// What the member says about itself; it asks no other one.
    pub(super) async fn status(&self, token: Option<&AsciiMetadataValue>) -> Result<StatusResponse, Status> {
        self.unary(STATUS, StatusRequest {}, Extras { token, needs_leader: false }).await
    }

    /// This connection, if etcd is there, young enough, and able to serve.
    async fn vetted(self, token: Option<&AsciiMetadataValue>) -> Result<Self, Trouble> {
        let status = match self.status(token).await {
            Ok(status) => status,
            Err(status) => return self.judge(&status).await.map(|()| self),
        };
        self.term.store(status.raft_term, Ordering::Relaxed);
        if status.is_learner {
            return Err(Trouble::Away(format!("{}: it is a learner and serves nobody yet", self.address)));
        }
        match parts(&status.version) {
            Some(found) if parts(LEAST).is_some_and(|least| found >= least) => Ok(self),
            _ => Err(Trouble::Unusable(Unusable::TooOld {
                address: self.address,
                found: status.version,
                least: LEAST,
            })),
        }
    }

    async fn judge(&self, status: &Status) -> Result<(), Trouble> {
        let address = self.address.clone();
        match Failure::of(&address, status) {
            Failure::Lost { reason, .. } => {
                Err(broken(&address, self.driver.reason().await.unwrap_or(reason)))
            }
            Failure::NotSent(trouble) => Err(trouble),
            // Newer members tell it only to those who have logged in; that is proof enough.
            Failure::Answered { answer: Answer::LoggedOut(_), .. } => Ok(()),
            Failure::Answered { answer, .. } => {
                let is_foreign = status.message().starts_with("grpc-status header missing");
                let is_gateway = status.code() == Code::Unavailable;
                if (is_foreign && !is_gateway) || status.code() == Code::Unimplemented {
                    let reason = answer.text().to_owned();
                    return Err(Trouble::Unusable(Unusable::WrongService {
                        address,
                        expected: "etcd",
                        reason,
                    }));
                }
                Err(Trouble::Away(format!("{address}: {}", answer.text())))
            }
        }
    }
}

fn dressed<T>(message: T, extras: Extras<'_>) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(token) = extras.token {
        request.metadata_mut().insert("token", token.clone());
    }
    if extras.needs_leader {
        request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    }
    request
}

/// Major and minor of a version.
fn parts(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A connection that broke before anything was heard of etcd.
fn broken(address: &str, reason: String) -> Trouble {
    let (is_tls, address) = (address.starts_with("https://"), address.to_owned());
    // TLS 1.3 refuses a client only after its handshake, in what is read first.
    if let Some(at) = reason.find("received fatal alert") {
        let (reason, check) = (reason[at..].to_owned(), CERTIFICATE);
        return Trouble::Unusable(Unusable::Refused { address, reason, check });
    }
    let is_foreign = ["frame with invalid size", "unspecific protocol error", "invalid preface"]
        .iter()
        .any(|sign| reason.contains(sign));
    if is_foreign {
        return Trouble::Unusable(Unusable::WrongService { address, expected: "etcd", reason });
    }
    let hint = if is_tls { "" } else { " (does it want TLS?)" };
    Trouble::Away(format!("{address}: {reason}{hint}"))
}

async fn handshake<S>(
    address: &Address,
    stream: S,
) -> Result<(SendRequest<tonic::body::Body>, Driver), Trouble>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(Tasks)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error: hyper::Error| broken(&address.text, describe(&error)))?;
    let (tell, end) = watch::channel(None);
    let task = task::guard("etcd-connection", async move {
        if let Err(error) = connection.await {
            tell.send_replace(Some(describe(&error)));
        }
    });
    Ok((sender, Driver { end, _task: task }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |text: &str| Address::parse(text).map(|a| (a.text, a.host, a.port, a.is_tls));
        let found =
            |text: &str, host: &str, port, is_tls| Some((text.to_owned(), host.to_owned(), port, is_tls));
        assert_eq!(read("https://etcd-0"), found("https://etcd-0:2379", "etcd-0", 2379, true));
        assert_eq!(read("http://[::1]:5"), found("http://[::1]:5", "::1", 5, false));
        assert_eq!(read("etcd-0:2379"), None);
        assert_eq!(read("ftp://etcd-0"), None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parts("3.10.1") > parts("3.4") && parts("3.3.27") < parts("3.4"));
        assert_eq!(parts("3.4.23"), parts("3.4"));
        assert_eq!(parts("new"), None);
    }
}
