//! What a run counted: answers, their latency, and failures by kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::failure::Failure;

/// Latencies are kept from 1 us to 10 min, to three digits.
const LOWEST_NANOS: u64 = 1_000;
const HIGHEST_NANOS: u64 = 600 * 1_000_000_000;
const DIGITS: u8 = 3;

/// How long calls took.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NANOS, HIGHEST_NANOS, DIGITS);
        Self(histogram.expect("the bounds are constants in the allowed range"))
    }
}

impl Latencies {
    pub(crate) fn note(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos);
    }

    /// Takes over all that `other` has.
    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be out of range.
        let _ = self.0.add(&other.0);
    }

    /// At a quantile between 0 and 1.
    pub(crate) fn at(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }
}

/// One tally for all connections of a run; sharing keeps memory flat at
/// thousands of connections.
pub type SharedTally = Arc<Mutex<Tally>>;

/// Counts of one run.
#[derive(Debug, Default)]
pub struct Tally {
    latency: Latencies,
    answered: u64,
    unsent: u64,
    failures: BTreeMap<Failure, u64>,
    last: Option<Instant>,
}

impl Tally {
    /// Counts a call that was sent, or meant to be sent, at `from` and ended now.
    pub(crate) fn record(&mut self, outcome: Result<(), Failure>, from: Instant, now: Instant) {
        self.last = Some(now);
        match outcome {
            Ok(()) => {
                self.answered += 1;
                self.latency.note(now.saturating_duration_since(from));
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// Counts a failure.
    pub(crate) fn fail(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Counts a call of the schedule that was never sent. It waited at least
    /// this long, and the percentiles must show it.
    pub(crate) fn skip(&mut self, waited: Duration) {
        self.unsent += 1;
        self.latency.note(waited);
    }

    /// Calls answered with the right id and text.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// Calls of an open loop that the server was too slow to take.
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Failed calls by kind.
    #[must_use]
    pub fn failures(&self) -> &BTreeMap<Failure, u64> {
        &self.failures
    }

    /// Failed calls of all kinds.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Latency at a quantile between 0 and 1, of answered and unsent calls.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Duration {
        self.latency.at(quantile)
    }

    /// When the last call ended.
    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_failures_are_kept_apart() {
        let mut tally = Tally::default();
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        for ms in 1..=99 {
            tally.record(Ok(()), start, after(ms));
        }
        tally.record(Err(Failure::WrongId), start, after(500));
        tally.record(Err(Failure::WrongId), start, after(500));
        assert_eq!((tally.answered(), tally.failed()), (99, 2));
        assert_eq!(tally.failures()[&Failure::WrongId], 2);
        assert_eq!(tally.latency(0.5).as_millis(), 50);
        assert!(tally.latency(1.0) < Duration::from_millis(100));
        assert_eq!(tally.last(), Some(after(500)));
    }

    #[test]
    fn unsent_calls_are_no_answers_but_show_in_the_latency() {
        let mut tally = Tally::default();
        let start = Instant::now();
        tally.record(Ok(()), start, start + Duration::from_millis(1));
        tally.skip(Duration::from_secs(2));
        assert_eq!((tally.answered(), tally.unsent()), (1, 1));
        assert!(tally.latency(1.0) >= Duration::from_secs(2));
    }
}
