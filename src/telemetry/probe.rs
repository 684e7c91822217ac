//! The listener for probes and metrics: `/livez`, `/readyz`, `/metrics`.
//!
//! `/livez` says only that the process answers; it never depends on seal, storage or Lease, because restarting a
//! process cures none of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Metrics;
use crate::base::task::{self, Shutdown};

const CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);

/// What `/readyz` asks.
pub trait Probe: Send + Sync + 'static {
    /// Whether the process can do its work now; else a sentence that says why not.
    ///
    /// # Errors
    /// The sentence.
    fn ready(&self) -> Result<(), String>;
}

#[derive(Clone)]
struct Ask {
    metrics: Arc<Metrics>,
    probe: Arc<dyn Probe>,
}

fn router(metrics: Arc<Metrics>, probe: Arc<dyn Probe>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(measurements))
        .with_state(Ask { metrics, probe })
}

async fn readyz(State(ask): State<Ask>) -> (StatusCode, String) {
    match ask.probe.ready() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn measurements(State(ask): State<Ask>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
        ask.metrics.text(),
    )
}

/// Serves probes and metrics on `listener` until `shutdown`. At most 64 connections at a time, each for five minutes.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, probe: Arc<dyn Probe>, shutdown: Shutdown) {
    let service = TowerToHyperService::new(router(metrics, probe));
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: some will be free soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let service = service.clone();
        let end = shutdown.clone();
        task::spawn("probe", async move {
            let mut builder = Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEADER_TIMEOUT);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = connection => {}
                () = tokio::time::sleep(CONNECTION_LIFETIME) => {}
                () = end.wait() => {}
            }
            drop(slot);
        });
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    struct Answer(Result<(), String>);

    impl Probe for Answer {
        fn ready(&self) -> Result<(), String> {
            self.0.clone()
        }
    }

    async fn get_path(probe: Answer, path: &str) -> (u16, String) {
        let metrics = Arc::new(Metrics::new("server", "0"));
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(metrics, Arc::new(probe)).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn liveness_does_not_depend_on_readiness() {
        let broken = || Answer(Err("the vault is sealed".to_owned()));
        assert_eq!(get_path(broken(), "/livez").await, (200, "ok\n".to_owned()));
        assert_eq!(get_path(broken(), "/readyz").await, (503, "the vault is sealed\n".to_owned()));
        assert_eq!(get_path(Answer(Ok(())), "/readyz").await.0, 200);
        assert!(get_path(broken(), "/metrics").await.1.ends_with("# EOF\n"));
    }
}
