//! The registry of metrics and its text form.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

mod process;

/// Upper ends of the buckets of a histogram.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 300.0];

/// Where the crates of a process register their metrics. Clones share one registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Starts with the metrics of the process itself: memory, CPU time, open
    /// files (all three read from `/proc`, absent elsewhere) and start time.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::new(),
        };
        let process = metrics.register(process::ProcessCollector::new());
        debug_assert!(process.is_ok(), "{process:?} on an empty registry");
        metrics
    }

    /// The registry, for crates that build their metrics against it.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Adds a collector; keep a clone of it to change its values.
    ///
    /// # Errors
    /// When a metric of the same name and labels is registered already.
    pub fn register(&self, collector: impl Collector + 'static) -> prometheus::Result<()> {
        self.registry.register(Box::new(collector))
    }

    /// A new counter, registered.
    ///
    /// # Panics
    /// When the name is not valid or taken: both are mistakes in our code.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.added(IntCounter::new(name, help))
    }

    /// New counters, one for each set of values of `labels`, registered.
    ///
    /// # Panics
    /// As [`Self::counter`].
    #[must_use]
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.added(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// A new gauge, registered.
    ///
    /// # Panics
    /// As [`Self::counter`].
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.added(IntGauge::new(name, help))
    }

    /// New gauges, one for each set of values of `labels`, registered.
    ///
    /// # Panics
    /// As [`Self::counter`].
    #[must_use]
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.added(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// As [`Self::gauge`], for a value that is no whole number.
    ///
    /// # Panics
    /// As [`Self::counter`].
    #[must_use]
    pub fn ratio(&self, name: &str, help: &str) -> Gauge {
        self.added(Gauge::new(name, help))
    }

    /// As [`Self::gauges`], for values that are no whole numbers.
    ///
    /// # Panics
    /// As [`Self::counter`].
    #[must_use]
    pub fn ratios(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.added(GaugeVec::new(Opts::new(name, help), labels))
    }

    /// New histograms of seconds, one for each set of values of `labels`,
    /// registered. Their buckets reach from 1 ms to 5 min.
    ///
    /// # Panics
    /// As [`Self::counter`].
    #[must_use]
    pub fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.added(HistogramVec::new(opts, labels))
    }

    fn added<C: Collector + Clone + 'static>(&self, metric: prometheus::Result<C>) -> C {
        let metric = metric.expect("metric names are literals");
        self.register(metric.clone())
            .expect("every metric is registered once");
        metric
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    ///
    /// A family that cannot be encoded is logged and left out: one broken
    /// collector must not hide the others.
    #[must_use]
    pub fn encode(&self) -> String {
        let (encoder, mut text) = (TextEncoder::new(), String::new());
        for family in self.registry.gather() {
            let end = text.len();
            if let Err(error) = encoder.encode_utf8(std::slice::from_ref(&family), &mut text) {
                text.truncate(end);
                tracing::error!(family = family.name(), %error, "cannot encode metric");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_was_registered() {
        let metrics = Metrics::new();
        let moves = IntCounter::new("hexagram_test_moves_total", "Moves.").expect("valid name");
        metrics.register(moves.clone()).expect("new name");
        moves.inc_by(3);
        assert!(metrics.encode().contains("\nhexagram_test_moves_total 3\n"));
    }

    #[test]
    fn refuses_a_name_twice() {
        let metrics = Metrics::new();
        let counter = IntCounter::new("hexagram_test_total", "A counter.").expect("valid name");
        metrics.register(counter.clone()).expect("new name");
        assert!(metrics.register(counter).is_err());
    }
}
