//! When calls were answered and when they were not.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::report::millis;

/// What ended in one second of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Second {
    /// Counted from the first call that was due.
    second: usize,
    answered: u64,
    /// Not answered as they should be, in whatever way.
    failed: u64,
    /// The longest latency of those answered.
    slowest_ms: f64,
}

/// Seconds of a run, and the longest time without an answer.
#[derive(Debug)]
pub(super) struct Timeline {
    start: Instant,
    seconds: Vec<Second>,
    last_answer: Instant,
    outage: Duration,
    outage_from: Instant,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new(Instant::now())
    }
}

impl Timeline {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            seconds: Vec::new(),
            last_answer: start,
            outage: Duration::ZERO,
            outage_from: start,
        }
    }

    pub(super) fn answered(&mut self, latency: Duration, now: Instant) {
        self.pause(now);
        self.last_answer = self.last_answer.max(now);
        let second = self.second(now);
        second.answered += 1;
        second.slowest_ms = second.slowest_ms.max(millis(latency));
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.second(now).failed += 1;
    }

    /// Until `now` nobody had an answer since the last one.
    pub(super) fn pause(&mut self, now: Instant) {
        let pause = now.saturating_duration_since(self.last_answer);
        if pause > self.outage {
            (self.outage, self.outage_from) = (pause, self.last_answer);
        }
    }

    fn second(&mut self, now: Instant) -> &mut Second {
        let second = now.saturating_duration_since(self.start).as_secs() as usize;
        for second in self.seconds.len()..=second {
            self.seconds.push(Second {
                second,
                ..Second::default()
            });
        }
        &mut self.seconds[second]
    }

    /// The longest time without an answer.
    pub(super) fn outage(&self) -> Duration {
        self.outage
    }

    /// When that began, from the start.
    pub(super) fn outage_from(&self) -> Duration {
        self.outage_from - self.start
    }

    pub(super) fn seconds(&self) -> &[Second] {
        &self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_without_anything_are_there_too() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timeline = Timeline::new(start);
        timeline.answered(Duration::from_millis(5), at(10));
        timeline.answered(Duration::from_millis(9), at(900));
        timeline.failed(at(2500));
        timeline.answered(Duration::from_millis(1), at(2600));
        let seen: Vec<_> = timeline
            .seconds()
            .iter()
            .map(|it| (it.answered, it.failed))
            .collect();
        assert_eq!(seen, [(2, 0), (0, 0), (1, 1)]);
        assert_eq!(timeline.seconds()[0].slowest_ms, 9.0);
        assert_eq!(timeline.seconds()[2].second, 2);
        assert_eq!(timeline.outage(), Duration::from_millis(1700));
        assert_eq!(timeline.outage_from(), Duration::from_millis(900));
    }

    #[test]
    fn an_outage_may_last_until_the_end_or_from_the_beginning() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut timeline = Timeline::new(start);
        timeline.answered(Duration::ZERO, at(2));
        assert_eq!(timeline.outage(), Duration::from_secs(2));
        timeline.failed(at(4));
        timeline.pause(at(7));
        assert_eq!(timeline.outage(), Duration::from_secs(5));
        assert_eq!(timeline.outage_from(), Duration::from_secs(2));
    }
}
