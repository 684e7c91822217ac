//! The accept loop: TLS handshake, HTTP/1.1 and HTTP/2, limits of connections and time, graceful end.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::cluster::{ClusterTls, LINE};
use super::line;
use super::meter::{Meter, Metered};
use crate::base::task::{self, Shutdown};
use crate::vault::ha::Ha;

/// How often a connection's limits are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Limits of a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListenLimits {
    /// Most connections at a time; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Longest time of a TLS handshake.
    pub handshake: Duration,
    /// Longest time from the first byte of a request until its headers are complete.
    pub headers: Duration,
    /// Longest time that a connection stays open without a request.
    pub idle: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshake: Duration::from_secs(10),
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(300),
        }
    }
}

/// What is known of the connection that a request came on; found among the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    /// The other side.
    pub remote: SocketAddr,
}

/// How listeners end. First requests still come in but connections are asked to close (`lame`), then nothing is
/// accepted any more and connections end with their running requests (`stop`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain {
    /// Answers carry `Connection: close`.
    pub lame: Arc<AtomicBool>,
    /// Listening ends, open connections finish what runs.
    pub stop: Shutdown,
    /// Open connections of all listeners that share this.
    pub open: Arc<AtomicUsize>,
}

/// What a listener speaks.
#[derive(Clone)]
pub(crate) enum ListenerTlsSource {
    /// Plain HTTP.
    Plain,
    /// TLS whose certificate is exchanged behind this configuration.
    Fixed(Arc<rustls::ServerConfig>),
    /// Mutual TLS of the cluster; while the node is sealed there is none and connections are closed at once.
    Cluster {
        /// Its certificates.
        tls: Arc<ClusterTls>,
        /// Answers the questions that come on lines.
        ha: Arc<Ha>,
    },
}

/// A socket with its TLS configuration and limits.
pub(crate) struct Listener {
    /// The bound socket.
    pub socket: TcpListener,
    /// What it speaks.
    pub tls: ListenerTlsSource,
    /// Its limits.
    pub limits: ListenLimits,
    /// How it ends.
    pub drain: Drain,
}

impl Listener {
    /// Accepts connections and answers their requests with `service` until `drain.stop`.
    pub(crate) async fn run<S, F>(self, service: S)
    where
        S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let slots = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            // Connections that wait when the end comes are still served: closing the socket would reset them.
            let accepted = tokio::select! {
                biased;
                accepted = self.socket.accept() => accepted,
                () = self.drain.stop.wait() => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    let open = Open::new(&self.drain, slot);
                    let one =
                        One { tls: self.tls.clone(), limits: self.limits, drain: self.drain.clone(), remote };
                    let service = service.clone();
                    task::spawn("connection", async move {
                        one.serve(stream, service).await;
                        drop(open);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: some will be free soon.
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Counts an open connection while it lives.
struct Open {
    count: Arc<AtomicUsize>,
    _slot: OwnedSemaphorePermit,
}

impl Open {
    fn new(drain: &Drain, slot: OwnedSemaphorePermit) -> Self {
        drain.open.fetch_add(1, Ordering::Relaxed);
        Self { count: Arc::clone(&drain.open), _slot: slot }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

struct One {
    tls: ListenerTlsSource,
    limits: ListenLimits,
    drain: Drain,
    remote: SocketAddr,
}

impl One {
    async fn serve<S, F>(self, stream: TcpStream, service: S)
    where
        S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        // Answers are small and complete: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let config = match &self.tls {
            ListenerTlsSource::Plain => return self.speak(stream, service).await,
            ListenerTlsSource::Fixed(config) => Arc::clone(config),
            ListenerTlsSource::Cluster { tls, .. } => match tls.server() {
                Some(config) => config,
                None => return,
            },
        };
        match tokio::time::timeout(self.limits.handshake, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => match &self.tls {
                ListenerTlsSource::Cluster { ha, .. } if stream.get_ref().1.alpn_protocol() == Some(LINE) => {
                    if let Err(error) = line::serve(stream, ha, self.limits.idle, &self.drain.stop).await {
                        debug!(remote = %self.remote, %error, "line ended");
                    }
                }
                _ => self.speak(stream, service).await,
            },
            Ok(Err(error)) => debug!(remote = %self.remote, %error, "TLS handshake failed"),
            Err(_) => debug!(remote = %self.remote, "TLS handshake took too long"),
        }
    }

    async fn speak<IO, S, F>(&self, stream: IO, service: S)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let meter = Arc::new(Meter::default());
        let about = Connection { remote: self.remote };
        let (lame, counted) = (Arc::clone(&self.drain.lame), Arc::clone(&meter));
        let answer = service_fn(move |mut request: Request<Incoming>| {
            let is_h1 = request.version() < http::Version::HTTP_2;
            let running = counted.start(is_h1);
            request.extensions_mut().insert(about);
            let (answer, lame) = (service(request), Arc::clone(&lame));
            async move {
                let mut response = answer.await;
                if is_h1 && lame.load(Ordering::Relaxed) {
                    response
                        .headers_mut()
                        .insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
                }
                drop(running);
                Ok::<_, Infallible>(response)
            }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        // hyper counts idle time between requests as time of the next headers: slow headers are the meter's matter.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.idle).max_buf_size(64 << 10);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .max_concurrent_streams(256)
            .max_header_list_size(64 << 10);
        let mut connection =
            pin!(builder.serve_connection(TokioIo::new(Metered::new(stream, Arc::clone(&meter))), answer));
        let mut watch = meter.watch(self.limits.headers, self.limits.idle, TICK);
        let mut tick = tokio::time::interval(TICK);
        let mut ending = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(remote = %self.remote, %error, "connection ended early");
                    }
                    return;
                }
                () = self.drain.stop.wait(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = tick.tick() => {
                    if watch.is_over() {
                        debug!(remote = %self.remote, "connection was idle or its headers took too long");
                        return;
                    }
                }
            }
        }
    }
}
