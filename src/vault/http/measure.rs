//! What is counted of requests.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::telemetry::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    code: u16,
}

/// Counters of the HTTP face.
pub(super) struct Measures {
    requests: Family<RequestLabels, Counter>,
    duration: Histogram,
    running: Gauge,
    forwarded: Counter,
    held: Counter,
}

/// Counts a running request while it lives.
pub(super) struct Running(Arc<Measures>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.dec();
    }
}

impl Measures {
    /// Registers the counters.
    pub(super) fn new(metrics: &Metrics) -> Arc<Self> {
        let measures = Self {
            requests: Family::default(),
            duration: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            running: Gauge::default(),
            forwarded: Counter::default(),
            held: Counter::default(),
        };
        metrics.register("http_requests", "Requests answered", measures.requests.clone());
        metrics.register(
            "http_request_duration_seconds",
            "Time from headers to answer",
            measures.duration.clone(),
        );
        metrics.register("http_requests_running", "Requests being served now", measures.running.clone());
        metrics.register(
            "http_requests_forwarded",
            "Requests sent on to the active node",
            measures.forwarded.clone(),
        );
        metrics.register("http_requests_held", "Requests that waited for a leader", measures.held.clone());
        Arc::new(measures)
    }

    /// A request has started.
    pub(super) fn start(self: &Arc<Self>) -> Running {
        self.running.inc();
        Running(Arc::clone(self))
    }

    /// A request was answered.
    pub(super) fn answered(&self, method: &Method, code: StatusCode, took: Duration) {
        self.requests.get_or_create(&RequestLabels { method: word(method), code: code.as_u16() }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// A request was sent on.
    pub(super) fn forwarded(&self) {
        self.forwarded.inc();
    }

    /// A request waits.
    pub(super) fn held(&self) {
        self.held.inc();
    }
}

/// Methods are what clients choose: only known ones become labels.
fn word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "LIST" => "LIST",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        _ => "other",
    }
}
