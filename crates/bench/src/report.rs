//! The result of one load, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::measure::Measured;
use crate::text::{grouped, rounded};

/// Figures of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoadReport {
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    pub(crate) seconds: f64,
    /// Calls of an open loop that were never sent because the server was slow.
    pub(crate) unsent: u64,
    pub(crate) errors: u64,
    pub(crate) errors_by_kind: BTreeMap<String, u64>,
    pub(crate) latency_ms: Latency,
    /// User plus system time of the servers named by pid.
    pub(crate) cpu_micros_per_call: Option<f64>,
    /// Their memory after the run.
    pub(crate) resident_kib: Option<u64>,
}

/// Milliseconds. In an open loop from the intended time of sending.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl LoadReport {
    pub(crate) fn new(measured: &Measured, resident_kib: Option<u64>) -> Self {
        let tally = &measured.tally;
        let millis = |quantile| millis(tally.latency(quantile));
        let kinds = tally.failures().iter();
        Self {
            calls: tally.answered(),
            calls_per_second: measured.rate(),
            seconds: measured.elapsed.as_secs_f64(),
            unsent: tally.unsent(),
            errors: tally.failed(),
            errors_by_kind: kinds.map(|(kind, n)| (kind.to_string(), *n)).collect(),
            latency_ms: Latency {
                p50: millis(0.50),
                p95: millis(0.95),
                p99: millis(0.99),
                max: millis(1.0),
            },
            cpu_micros_per_call: measured.cpu_micros_per_call(),
            resident_kib,
        }
    }
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = rounded(self.calls_per_second);
        let calls = grouped(self.calls);
        writeln!(
            f,
            "calls     {calls} in {:.2} s, {rate} calls/s",
            self.seconds
        )?;
        if self.unsent > 0 {
            let unsent = grouped(self.unsent);
            writeln!(
                f,
                "unsent    {unsent}: the server did not keep up with the rate"
            )?;
        }
        writeln!(f, "errors    {}", grouped(self.errors))?;
        for (kind, count) in &self.errors_by_kind {
            writeln!(f, "          {} x {kind}", grouped(*count))?;
        }
        write!(f, "latency   {}", self.latency_ms)?;
        if let Some(micros) = self.cpu_micros_per_call {
            write!(f, "\nCPU       {micros:.1} us per call")?;
        }
        if let Some(kib) = self.resident_kib {
            write!(f, "\nmemory    {} KiB resident", grouped(kib))?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p95, p99, max } = self;
        write!(
            f,
            "p50 {p50:.2}  p95 {p95:.2}  p99 {p99:.2}  max {max:.2} ms"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;
    use crate::tally::Tally;
    use tokio::time::Instant;

    fn measured() -> Measured {
        let start = Instant::now();
        let end = start + Duration::from_millis(2);
        let mut tally = Tally::default();
        for _ in 0..2000 {
            tally.record(Ok(()), start, end);
        }
        tally.record(Err(Failure::WrongId), start, end);
        tally.skip(Duration::from_millis(2));
        Measured {
            tally,
            elapsed: Duration::from_millis(500),
            cpu: Some(Duration::from_millis(30)),
        }
    }

    #[test]
    fn figures_are_per_answered_call() {
        let report = LoadReport::new(&measured(), None);
        assert_eq!(report.calls_per_second, 4000.0);
        assert_eq!(report.cpu_micros_per_call, Some(15.0));
        assert_eq!((report.errors, report.unsent), (1, 1));
    }

    #[test]
    fn the_text_shows_what_went_wrong() {
        let text = LoadReport::new(&measured(), Some(2048)).to_string();
        for part in [
            "2,000 in 0.50 s, 4,000 calls/s",
            "unsent    1:",
            "1 x the answer has a wrong id",
            "p99 2.00",
            "15.0 us per call",
            "2,048 KiB",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_run_without_any_answer_has_no_cpu_figure() {
        let nothing = Measured {
            tally: Tally::default(),
            elapsed: Duration::ZERO,
            cpu: Some(Duration::ZERO),
        };
        let report = LoadReport::new(&nothing, None);
        assert_eq!(
            (report.calls_per_second, report.cpu_micros_per_call),
            (0.0, None)
        );
    }
}
