//! [`Api`]: the requests of one node, from the listener to the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::routing::any;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, debug, info_span};

use super::bodies::Bodies;
use super::forward::{self, NODE};
use super::hold::Hold;
use super::inbound::Inbound;
use super::lifecycle::Lifecycle;
use super::listen::Connection;
use super::local;
use super::measure::Measures;
use super::peer;
use super::pool::Pool;
use super::respond::{self, Refusal};
use super::route::{PATIENCE, RESUMED};
use super::scouts::Scouts;
use crate::base::class::ErrorClass;
use crate::base::id;
use crate::telemetry::Metrics;

/// How old a read on a listener may be, in milliseconds; zero is linearizable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Staleness {
    /// For requests that do not say.
    pub default_ms: u64,
    /// The most that a request gets, whatever it asks for: tokens and policies are read as old as the rest, so that it is
    /// for the server's owner to say how long a revoked token may still read where nothing newer can be had.
    pub limit_ms: u64,
}

/// Limits of requests on one listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    /// Largest body.
    pub body_bytes: usize,
    /// Longest time until the body has arrived.
    pub read: Duration,
    /// Longest time that a request may take.
    pub duration: Duration,
    /// How old reads may be.
    pub staleness: Staleness,
    /// Whether `sys/generate-root` is refused.
    pub no_generate_root: bool,
    /// Whether `sys/rekey` and `sys/rekey-recovery-key` are refused.
    pub no_rekey: bool,
}

impl RequestLimits {
    /// Whether requests for `path` are refused on this listener.
    fn closes(&self, path: &str) -> bool {
        self.no_generate_root && path.starts_with("sys/generate-root/")
            || self.no_rekey && ["sys/rekey/", "sys/rekey-recovery-key/"].iter().any(|p| path.starts_with(p))
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            read: Duration::from_secs(30),
            duration: Duration::from_secs(90),
            staleness: Staleness::default(),
            no_generate_root: false,
            no_rekey: false,
        }
    }
}

/// What this node does with requests while it is not active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standby {
    /// It never forwards: it redirects.
    pub only_redirects: bool,
    /// It answers reads itself.
    pub reads: bool,
}

impl Default for Standby {
    fn default() -> Self {
        Self { only_redirects: false, reads: true }
    }
}

/// What requests need of this node.
pub(crate) struct Api {
    /// Sealed or unsealed.
    pub lifecycle: Arc<Lifecycle>,
    pub(super) pool: Arc<Pool>,
    pub(super) standby: Standby,
    /// How long a request waits for a leader.
    pub(super) patience: Duration,
    /// How long the active node may be silent before what was sent to it is given up.
    pub(super) silence: Duration,
    pub(super) bodies: Bodies,
    pub(super) hold: Arc<Hold>,
    pub(super) scouts: Scouts,
    /// Places of requests that go on after they have waited for a leader.
    pub(super) resumed: Semaphore,
    pub(super) measures: Arc<Measures>,
}

impl Api {
    /// The requests of the node `lifecycle`, counted in `metrics`.
    pub(crate) fn new(
        lifecycle: Arc<Lifecycle>,
        pool: Arc<Pool>,
        standby: Standby,
        metrics: &Metrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            lifecycle,
            pool,
            standby,
            patience: PATIENCE,
            silence: PATIENCE,
            bodies: Bodies::default(),
            hold: Arc::default(),
            scouts: Scouts::default(),
            resumed: Semaphore::new(RESUMED),
            measures: Measures::new(metrics),
        })
    }
}

/// Who sends the requests of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Clients,
    Peers,
}

#[derive(Clone)]
struct Entrance {
    api: Arc<Api>,
    limits: RequestLimits,
    side: Side,
}

/// The routes of an API listener.
pub(crate) fn client_routes(api: Arc<Api>, limits: RequestLimits) -> Router {
    routes(Entrance { api, limits, side: Side::Clients }, Router::new())
}

/// The routes of the cluster listener, which only nodes of this cluster reach.
pub(crate) fn peer_routes(api: Arc<Api>) -> Router {
    // A request that a standby accepted is not refused for its size here.
    let limits = RequestLimits { body_bytes: 1 << 30, ..RequestLimits::default() };
    routes(Entrance { api, limits, side: Side::Peers }, Router::new().route(peer::PATH, any(question)))
}

fn routes(entrance: Entrance, router: Router<Entrance>) -> Router {
    router
        .route("/v1/{*path}", any(request))
        .fallback(async || Refusal::not_found().into_response())
        .layer(CatchPanicLayer::custom(|_| {
            Refusal::of(ErrorClass::Internal, "internal error").into_response()
        }))
        .with_state(entrance)
}

/// Answers one request of a listener with `routes`.
pub(crate) async fn answer<B>(routes: Router, request: Request<B>) -> Response<HttpBody>
where
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    match routes.oneshot(request.map(HttpBody::new)).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn question(State(entrance): State<Entrance>, request: Request<HttpBody>) -> Response<HttpBody> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, peer::QUESTION_BYTES).collect().await else {
        return respond::empty(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let from = parts.headers.get(NODE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    peer::serve(&entrance.api.lifecycle.ha, from, &body.to_bytes()).await
}

async fn request(State(entrance): State<Entrance>, request: Request<HttpBody>) -> Response<HttpBody> {
    let Entrance { api, limits, side } = entrance;
    let clock = Arc::clone(&api.lifecycle.clock);
    let start = clock.now();
    let (mut parts, body) = request.into_parts();
    let connection = parts.extensions.get::<Connection>().copied();
    let (mut remote, mut known_id) = (connection.map(|c| c.remote.ip()), None);
    match side {
        Side::Clients => forward::distrust(&mut parts.headers),
        Side::Peers => (remote, known_id) = forward::origin(&parts.headers),
    }
    let id = known_id.unwrap_or_else(|| id::uuid(&*api.lifecycle.random));
    let span = info_span!("request", request_id = %id, method = %parts.method, path = %parts.uri.path());
    let method = parts.method.clone();
    let running = api.measures.start();
    let response = async {
        // Its place is given back when the request is answered.
        let body = match api.bodies.read(body, &limits).await {
            Ok(body) => body,
            Err(refusal) => return refusal.into_response(),
        };
        let inbound = Inbound {
            id,
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body: body.bytes.clone(),
            remote,
            from_peer: side == Side::Peers,
        };
        // Thousands of bytes of state, which would be moved at each step from here to the connection's task.
        let served = Box::pin(serve(&api, &inbound, &limits));
        let response = tokio::time::timeout(limits.duration, served).await.unwrap_or_else(|_| {
            let text = format!(
                "the request took longer than {} s and was given up; it may or may not have been carried out",
                limits.duration.as_secs()
            );
            Refusal::of(ErrorClass::Unknown, text).into_response()
        });
        debug!(
            status = response.status().as_u16(),
            took_ms = clock.now().since(start).as_millis(),
            "answered"
        );
        response
    }
    .instrument(span)
    .await;
    drop(running);
    api.measures.answered(&method, response.status(), clock.now().since(start));
    response
}

async fn serve(api: &Arc<Api>, inbound: &Inbound, limits: &RequestLimits) -> Response<HttpBody> {
    if !inbound.from_peer
        && let Some(response) = local::serve(&api.lifecycle, inbound).await
    {
        return response;
    }
    let call = inbound.call(limits.staleness).and_then(|call| Ok((call, inbound.wish()?)));
    match call {
        Ok((call, _)) if limits.closes(&call.path) => {
            let text =
                "this listener does not take key shares for that: its disable_unauthed_*_endpoints is set";
            Refusal::of(ErrorClass::Denied, text).into_response()
        }
        Ok((call, wish)) => api.route(call, wish, inbound).await,
        Err(refusal) => refusal.into_response(),
    }
}
