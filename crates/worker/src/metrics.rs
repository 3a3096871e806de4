//! What the workers of a process count.

use hexagram_runtime::metrics::Metrics;
use prometheus::IntCounter;

/// The worker's metrics.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    pub(crate) exchanges: IntCounter,
    pub(crate) sessions: IntCounter,
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
        }
    }
}
