//! What the workers of a process count.

use hexagram_core::{ShardId, WorkerId};
use hexagram_mcp::error::Problem;
use hexagram_runtime::metrics::Metrics;
use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use crate::polled::Process;

/// The worker's metrics.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    pub(crate) exchanges: IntCounter,
    pub(crate) sessions: IntCounter,
    pub(crate) refusals: Refusals,
    shard_load: GaugeVec,
    pub(crate) polled: Process,
    pub(crate) store_up: IntGauge,
    pub(crate) upstream_requests: IntCounterVec,
    pub(crate) upstream_failures: IntCounterVec,
    pub(crate) upstream_lists: IntCounterVec,
    pub(crate) upstream_in_flight: IntGaugeVec,
    pub(crate) upstream_seconds: HistogramVec,
}

impl WorkerMetrics {
    /// Registers them, once for all workers of a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            exchanges: metrics.counter(
                "hexagram_worker_exchanges_total",
                "Messages received from edges.",
            ),
            sessions: metrics.counter("hexagram_worker_sessions_total", "Sessions minted."),
            refusals: Refusals(metrics.counters(
                "hexagram_worker_refusals_total",
                "Exchanges refused or failed, by reason.",
                &["reason"],
            )),
            shard_load: metrics.ratios(
                "hexagram_worker_shard_load",
                "Share of one core's time that a shard's tasks take, averaged over half a minute.",
                &["worker", "shard"],
            ),
            polled: Process::default(),
            store_up: metrics.gauge(
                "hexagram_worker_store_up",
                "Whether the session store answers; 0 without one.",
            ),
            upstream_requests: metrics.counters(
                "hexagram_upstream_requests_total",
                "Requests given to an upstream.",
                &["upstream"],
            ),
            upstream_failures: metrics.counters(
                "hexagram_upstream_failures_total",
                "Times that an upstream could not be used, by kind.",
                &["upstream", "kind"],
            ),
            upstream_lists: metrics.counters(
                "hexagram_upstream_lists_total",
                "Lists that an upstream may let us keep, by whether they were there.",
                &["upstream", "cache"],
            ),
            upstream_in_flight: metrics.gauges(
                "hexagram_upstream_in_flight",
                "Requests that an upstream has not answered yet.",
                &["upstream"],
            ),
            upstream_seconds: metrics.histograms(
                "hexagram_upstream_seconds",
                "How long an upstream took to answer, with what it took to reach it.",
                &["upstream"],
            ),
        }
    }
}

/// What the shards of one worker take.
#[derive(Debug, Clone)]
pub(crate) struct ShardLoads {
    gauges: GaugeVec,
    worker: WorkerId,
}

impl WorkerMetrics {
    /// What the shards of `worker` take.
    pub(crate) fn shard_loads(&self, worker: &WorkerId) -> ShardLoads {
        ShardLoads {
            gauges: self.shard_load.clone(),
            worker: worker.clone(),
        }
    }
}

impl ShardLoads {
    /// A served shard's, in millionths of one core's time.
    pub(crate) fn set(&self, shard: ShardId, millionths: u32) {
        let labels = [self.worker.as_str(), &shard.to_string()];
        let gauge = self.gauges.with_label_values(&labels);
        gauge.set(f64::from(millionths) / 1_000_000.0);
    }

    /// The shard is not served here.
    pub(crate) fn forget(&self, shard: ShardId) {
        // Most of those that are not served here never were.
        let _ = self
            .gauges
            .remove_label_values(&[self.worker.as_str(), &shard.to_string()]);
    }
}

/// Counts what is not served, by reason.
#[derive(Debug, Clone)]
pub(crate) struct Refusals(IntCounterVec);

impl Refusals {
    pub(crate) fn count(&self, problem: &Problem) {
        self.0.with_label_values(&[problem.reason()]).inc();
    }

    /// Counts an exchange for a shard or epoch that is not served here.
    pub(crate) fn count_misdirected(&self) {
        self.0.with_label_values(&["misdirected"]).inc();
    }
}
