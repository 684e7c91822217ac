//! Measurements of leadership and storage, taken when they are read.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::vault::ha::Role;
use crate::vault::http::lifecycle::Lifecycle;

/// Measurements of a node.
pub(super) struct NodeCollector(pub(super) Arc<Lifecycle>);

impl fmt::Debug for NodeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeCollector")
    }
}

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let status = self.0.ha.status().borrow().clone();
        let counts = self.0.ha.metrics();
        let flag = i64::from;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let gauges = [
            ("sealed", "Whether this node is sealed", flag(self.0.core.is_sealed())),
            ("active", "Whether this node is active", flag(matches!(status.role, Role::Active { .. }))),
            ("leader_known", "Whether an active node is known", flag(status.leader.is_some())),
            ("storage_away", "Whether the storage does not answer", flag(status.storage_away.is_some())),
            (
                "clock_skew_milliseconds",
                "How far this node's wall clock is ahead of the cluster's",
                self.0.ha.clock_skew_ms(),
            ),
            ("head_epoch", "Epoch of the newest head known", number(counts.epoch)),
            ("head_seq", "Sequence number of the newest head known", number(counts.seq)),
            ("commits_queued", "Transactions that wait for a commit", number(counts.queued)),
            (
                "storage_used_bytes",
                "Bytes of data, where known",
                number(self.0.backend.used_bytes().unwrap_or(0)),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            ("elections", "Times that this node won the lock", counts.elections),
            ("promotions", "Times that this node became active", counts.promotions),
            ("commits", "Commits that succeeded", counts.commits),
            ("transactions", "Transactions committed", counts.transactions),
            ("commits_fenced", "Commits that were fenced", counts.fenced),
            ("commits_unknown", "Commits whose outcome was unknown at first", counts.unknown),
            ("conflicts", "Transactions that read what had changed", counts.conflicts),
            ("checks", "Quorum checks sent", counts.checks),
        ];
        let of_storage =
            self.0.backend.counts().into_iter().map(|count| (count.name, count.help, count.value));
        for (name, help, value) in counters.into_iter().chain(of_storage) {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
