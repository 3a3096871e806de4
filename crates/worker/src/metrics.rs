//! What the workers of a process count.

use hexagram_mcp::error::Problem;
use hexagram_runtime::metrics::Metrics;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// The worker's metrics.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    pub(crate) exchanges: IntCounter,
    pub(crate) sessions: IntCounter,
    pub(crate) refusals: Refusals,
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
