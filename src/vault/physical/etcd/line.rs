//! A line to a member: TCP, TLS where it is asked for, and HTTP/2 with its calls.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
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
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use super::address::Address;
use super::answer::{Trouble, describe};
use super::proto::{STATUS, StatusRequest, StatusResponse};
use super::tls::{CERTIFICATE, Tls, encrypt};
use crate::base::task::{self, Guarded};
use crate::base::tcp;
use crate::vault::physical::unusable::Unusable;

/// A ping while something waits for an answer. etcd takes more than one in 5 s for an attack.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a broken line may take to say why.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Most bytes of an answer: a page of the journal whose records all name the longest keys.
const ANSWER_BYTES: usize = 64 << 20;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A line. Calls share it.
pub(super) struct Line {
    transport: Transport,
    origin: Uri,
    driver: Driver,
}

/// What moves the bytes of a line; it ends with it.
struct Driver {
    /// Why the line broke, once it has.
    end: watch::Receiver<Option<String>>,
    _task: Guarded<()>,
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

impl Line {
    /// Connects to `peer`, which is one of the places that `address` names.
    pub(super) async fn open(
        address: &Address,
        peer: SocketAddr,
        tls: Option<&Tls>,
    ) -> Result<Self, Trouble> {
        let away = |error: std::io::Error| Trouble::Away(format!("{}: {error}", address.text));
        let stream = TcpStream::connect(peer).await.map_err(away)?;
        stream.set_nodelay(true).map_err(away)?;
        if let Err(error) = tcp::end_when_silent(&stream) {
            tracing::debug!(%error, "the system does not watch over a connection to etcd");
        }
        match tls {
            None => Self::greet(address, stream).await,
            Some(tls) => Self::greet(address, encrypt(address, tls, stream).await?).await,
        }
    }

    async fn greet<S>(address: &Address, stream: S) -> Result<Self, Trouble>
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
        let task = task::guard("etcd-line", async move {
            if let Err(error) = connection.await {
                tell.send_replace(Some(describe(&error)));
            }
        });
        let driver = Driver { end, _task: task };
        Ok(Self { transport: Transport(sender), origin: address.origin.clone(), driver })
    }

    /// Whether the other end is known to be gone.
    pub(super) fn is_closed(&self) -> bool {
        self.transport.0.is_closed()
    }

    /// Why the line broke: a call that breaks with it often learns only that it did.
    pub(super) async fn end(&self) -> Option<String> {
        let mut end = self.driver.end.clone();
        let told = timeout(LAST_WORDS, end.wait_for(Option::is_some)).await;
        told.ok()?.ok()?.clone()
    }

    /// A client for one call, once the line takes one.
    async fn grpc(&self) -> Result<Grpc<Transport>, Status> {
        let mut grpc = Grpc::with_origin(self.transport.clone(), self.origin.clone())
            .max_decoding_message_size(ANSWER_BYTES);
        grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        Ok(grpc)
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
        let mut grpc = self.grpc().await?;
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
        let mut grpc = self.grpc().await?;
        let request = dressed(messages, extras);
        let codec = ProstCodec::<Q, A>::default();
        grpc.streaming(request, PathAndQuery::from_static(path), codec).await.map(tonic::Response::into_inner)
    }

    /// What the member says about itself; it asks no other one.
    pub(super) async fn status(&self, token: Option<&AsciiMetadataValue>) -> Result<StatusResponse, Status> {
        self.unary(STATUS, StatusRequest {}, Extras { token, needs_leader: false }).await
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

/// A line that broke before anything was heard of etcd.
pub(super) fn broken(address: &str, reason: String) -> Trouble {
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
