//! [`Metrics`]: the process's measurements in the text form that Prometheus reads.

use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

/// All measurements of one process. Names start with `holdfast_`.
#[derive(Debug)]
pub struct Metrics(Mutex<Registry>);

impl Metrics {
    /// Measurements of a process in `role` (`server` or `operator`) of `version`.
    pub fn new(role: &'static str, version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("holdfast");
        registry.register("build", "What is running", Info::new(vec![("role", role), ("version", version)]));
        Self(Mutex::new(registry))
    }

    /// Adds `metric`; counters get the suffix `_total` by themselves.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).register(name, help, metric);
    }

    /// Adds measurements that are taken when they are read.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).register_collector(collector);
    }

    /// The text that Prometheus reads; empty if something could not be written.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match text::encode(&mut out, &registry) {
            Ok(()) => out,
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn the_text_has_what_was_counted() {
        let metrics = Metrics::new("server", "0.0.1");
        let counter = Counter::<u64>::default();
        metrics.register("requests", "Requests served", counter.clone());
        counter.inc();
        let text = metrics.text();
        assert!(text.contains("holdfast_requests_total 1"), "{text}");
        assert!(text.contains("holdfast_build_info{role=\"server\",version=\"0.0.1\"} 1"), "{text}");
    }
}
