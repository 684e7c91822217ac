//! The controller's measurements.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::telemetry::Metrics;

/// Seconds; a visit that waits for nobody takes a tenth of one.
const BUCKETS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    namespace: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// The controller's measurements.
#[derive(Debug)]
pub(crate) struct OperatorMetrics {
    reconciles: Family<ResultLabels, Counter>,
    seconds: Histogram,
    ready: Family<ClusterLabels, Gauge>,
    initialisations: Counter,
}

impl OperatorMetrics {
    /// Measurements that appear in `metrics`.
    pub(crate) fn new(metrics: &Metrics) -> Arc<Self> {
        let own = Self {
            reconciles: Family::default(),
            seconds: Histogram::new(BUCKETS),
            ready: Family::default(),
            initialisations: Counter::default(),
        };
        metrics.register("reconciles", "Visits to clusters, by result", own.reconciles.clone());
        metrics.register("reconcile_seconds", "Duration of a visit", own.seconds.clone());
        metrics.register("cluster_ready", "Whether a cluster is Ready", own.ready.clone());
        metrics.register("initialisations", "Vaults initialised", own.initialisations.clone());
        Arc::new(own)
    }

    /// A visit ended.
    pub(crate) fn visited(&self, is_ok: bool, took: Duration) {
        let result = if is_ok { "ok" } else { "error" };
        self.reconciles.get_or_create(&ResultLabels { result }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// A cluster is ready, or not.
    pub(crate) fn ready(&self, namespace: &str, name: &str, is_ready: bool) {
        self.ready.get_or_create(&labels(namespace, name)).set(i64::from(is_ready));
    }

    /// A cluster is gone.
    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        self.ready.remove(&labels(namespace, name));
    }

    /// A vault was initialised.
    pub(crate) fn initialised(&self) {
        self.initialisations.inc();
    }
}

fn labels(namespace: &str, name: &str) -> ClusterLabels {
    ClusterLabels { namespace: namespace.to_owned(), name: name.to_owned() }
}
