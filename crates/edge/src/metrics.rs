//! What an edge counts.

use std::time::Duration;

use hexagram_mcp::error::Problem;
use hexagram_runtime::metrics::Metrics;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge};

/// The edge's metrics.
#[derive(Debug)]
pub(crate) struct EdgeMetrics {
    pub(crate) connections: IntGauge,
    pub(crate) max_connections: IntGauge,
    pub(crate) streams: IntGauge,
    pub(crate) links_up: IntGauge,
    pub(crate) rejoined: IntCounter,
    pub(crate) exchanges: IntCounter,
    pub(crate) parked: IntGauge,
    pub(crate) redirects: IntCounter,
    parked_seconds: HistogramVec,
    refusals: IntCounterVec,
}

impl EdgeMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        Self {
            connections: metrics.gauge("hexagram_edge_connections", "Open client connections."),
            max_connections: metrics.gauge(
                "hexagram_edge_max_connections",
                "Client connections at most: --max-connections, or what open files allow.",
            ),
            streams: metrics.gauge("hexagram_edge_streams", "Open event streams to clients."),
            links_up: metrics.gauge("hexagram_edge_links_up", "Links to workers that are up."),
            rejoined: metrics.counter(
                "hexagram_edge_links_rejoined_total",
                "Links that were taken up again after their connection broke.",
            ),
            exchanges: metrics
                .counter("hexagram_edge_exchanges_total", "Messages sent to workers."),
            parked: metrics.gauge(
                "hexagram_edge_parked",
                "Messages that wait for their shard's owner.",
            ),
            redirects: metrics.counter(
                "hexagram_edge_redirects_total",
                "Messages that a worker sent away and that were sent again.",
            ),
            parked_seconds: metrics.histograms(
                "hexagram_edge_parked_seconds",
                "How long messages and streams waited for their shard's owner, by result.",
                &["result"],
            ),
            refusals: metrics.counters(
                "hexagram_edge_refusals_total",
                "Requests refused, by reason.",
                &["reason"],
            ),
        }
    }

    /// A message or a stream has waited, and found its owner or not.
    pub(crate) fn waited(&self, time: Duration, found: bool) {
        let result = if found { "sent" } else { "refused" };
        let seconds = self.parked_seconds.with_label_values(&[result]);
        seconds.observe(time.as_secs_f64());
    }

    pub(crate) fn refused(&self, problem: &Problem) {
        self.refusals.with_label_values(&[problem.reason()]).inc();
    }
}
