//! What an edge counts.

use hexagram_mcp::error::Problem;
use hexagram_runtime::metrics::Metrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

/// The edge's metrics.
#[derive(Debug)]
pub(crate) struct EdgeMetrics {
    pub(crate) connections: IntGauge,
    pub(crate) streams: IntGauge,
    pub(crate) links_up: IntGauge,
    pub(crate) exchanges: IntCounter,
    refusals: IntCounterVec,
}

impl EdgeMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        Self {
            connections: metrics.gauge("hexagram_edge_connections", "Open client connections."),
            streams: metrics.gauge("hexagram_edge_streams", "Open event streams to clients."),
            links_up: metrics.gauge("hexagram_edge_links_up", "Links to workers that are up."),
            exchanges: metrics
                .counter("hexagram_edge_exchanges_total", "Messages sent to workers."),
            refusals: metrics.counters(
                "hexagram_edge_refusals_total",
                "Requests refused, by reason.",
                &["reason"],
            ),
        }
    }

    pub(crate) fn refused(&self, problem: &Problem) {
        self.refusals.with_label_values(&[problem.reason()]).inc();
    }
}
