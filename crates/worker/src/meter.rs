//! What is counted of each upstream.

use std::collections::BTreeMap;

use prometheus::{Histogram, IntCounter, IntGauge};
use tokio::time::Instant;

use crate::metrics::WorkerMetrics;
use crate::upstream::{UpstreamError, UpstreamHealth};

/// An upstream as `/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Requests it was given since this process started.
    pub requests: u64,
    /// Those that it has not answered yet.
    pub in_flight: i64,
    /// Times that it could not be used, by kind; without kinds that never came.
    pub failures: BTreeMap<&'static str, u64>,
    /// Whether it answers, and what it is.
    #[serde(flatten)]
    pub health: UpstreamHealth,
}

/// One upstream's counters. The workers of a process share them.
#[derive(Debug)]
pub(crate) struct Meter {
    name: String,
    requests: IntCounter,
    in_flight: IntGauge,
    seconds: Histogram,
    failures: BTreeMap<&'static str, IntCounter>,
    lists_hit: IntCounter,
    lists_missed: IntCounter,
}

impl Meter {
    pub(crate) fn new(metrics: &WorkerMetrics, name: &str) -> Self {
        let failures = |kind| {
            let counter = metrics.upstream_failures.with_label_values(&[name, kind]);
            (kind, counter)
        };
        let lists = |cache| metrics.upstream_lists.with_label_values(&[name, cache]);
        Self {
            lists_hit: lists("hit"),
            lists_missed: lists("miss"),
            name: name.to_owned(),
            requests: metrics.upstream_requests.with_label_values(&[name]),
            in_flight: metrics.upstream_in_flight.with_label_values(&[name]),
            seconds: metrics.upstream_seconds.with_label_values(&[name]),
            // All kinds from the start: a series that appears with its first
            // failure shows no increase.
            failures: UpstreamError::KINDS.into_iter().map(failures).collect(),
        }
    }

    /// Counts a request that is answered here and now.
    pub(crate) fn count(&self) {
        self.requests.inc();
    }

    /// Counts a request until what this gives is dropped.
    pub(crate) fn start(&self) -> UnderWay<'_> {
        self.count();
        self.in_flight.inc();
        UnderWay {
            meter: self,
            since: Instant::now(),
        }
    }

    /// Counts a list that could have been kept, and whether it was.
    pub(crate) fn listed(&self, hit: bool) {
        match hit {
            true => self.lists_hit.inc(),
            false => self.lists_missed.inc(),
        }
    }

    /// Counts a failure to use the upstream.
    pub(crate) fn failed(&self, error: &UpstreamError) {
        if let Some(counter) = self.failures.get(error.kind()) {
            counter.inc();
        }
    }

    pub(crate) fn status(&self, health: UpstreamHealth) -> UpstreamStatus {
        let failures = self.failures.iter();
        let failures = failures.map(|(kind, counter)| (*kind, counter.get()));
        UpstreamStatus {
            name: self.name.clone(),
            requests: self.requests.get(),
            in_flight: self.in_flight.get(),
            failures: failures.filter(|(_, count)| *count > 0).collect(),
            health,
        }
    }
}

/// A request under way; dropped, it is over.
pub(crate) struct UnderWay<'a> {
    meter: &'a Meter,
    since: Instant,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.meter.in_flight.dec();
        self.meter
            .seconds
            .observe(self.since.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hexagram_runtime::metrics::Metrics;

    use super::*;

    fn status(meter: &Meter) -> UpstreamStatus {
        meter.status(UpstreamHealth::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_counts_until_it_is_over() {
        let metrics = Metrics::new();
        let meter = Meter::new(&WorkerMetrics::register(&metrics), "git");
        let under_way = meter.start();
        meter.count();
        assert_eq!((status(&meter).requests, status(&meter).in_flight), (2, 1));
        tokio::time::advance(Duration::from_secs(2)).await;
        drop(under_way);
        assert_eq!(status(&meter).in_flight, 0);
        let text = metrics.encode();
        assert!(
            text.contains("hexagram_upstream_seconds_sum{upstream=\"git\"} 2\n"),
            "{text}"
        );
    }

    #[test]
    fn failures_are_counted_by_kind_and_upstream() {
        let metrics = Metrics::new();
        let workers = WorkerMetrics::register(&metrics);
        let (git, docs) = (Meter::new(&workers, "git"), Meter::new(&workers, "docs"));
        git.failed(&UpstreamError::SessionGone);
        git.failed(&UpstreamError::SessionGone);
        assert_eq!(status(&git).failures, BTreeMap::from([("session_gone", 2)]));
        assert!(status(&docs).failures.is_empty());
        let never = "hexagram_upstream_failures_total{kind=\"silent\",upstream=\"docs\"} 0\n";
        assert!(metrics.encode().contains(never), "{}", metrics.encode());
    }
}
