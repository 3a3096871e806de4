//! The result of `bench compare`: ratios first, the figures behind them below.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::ratio::{Comparison, Pair, compare, shown};
use crate::report::LoadReport;
use crate::text::{grouped, rounded, table};

/// What `bench compare` found.
#[derive(Debug, Serialize)]
pub(crate) struct CompareReport {
    /// Calls per second of the open loop.
    rate: u64,
    /// Answered calls per second, closed loop.
    throughput: Comparison,
    /// Server CPU per call, open loop.
    cpu_micros_per_call: Comparison,
    /// 99th percentile of latency in milliseconds, open loop.
    p99_ms: Comparison,
    closed: Vec<Round>,
    open: Vec<Round>,
    /// Sessions that could not be ended afterwards.
    pub(crate) unended: Vec<String>,
}

/// Both servers under the same load, one after the other.
#[derive(Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) bare: LoadReport,
    pub(crate) target: LoadReport,
}

impl CompareReport {
    pub(crate) fn new(rate: u64, closed: Vec<Round>, open: Vec<Round>) -> Self {
        let cpu = |load: &LoadReport| load.cpu_micros_per_call.unwrap_or(f64::NAN);
        Self {
            rate,
            throughput: figure(&closed, |load| load.calls_per_second),
            cpu_micros_per_call: figure(&open, cpu),
            p99_ms: figure(&open, |load| load.latency_ms.p99),
            closed,
            open,
            unended: Vec::new(),
        }
    }

    /// Calls that failed in all runs of both servers, and sessions not ended.
    pub(crate) fn errors(&self) -> u64 {
        let calls: u64 = self.loads().map(|(_, load)| load.errors).sum();
        calls + self.unended.len() as u64
    }

    fn loads(&self) -> impl Iterator<Item = (&'static str, &LoadReport)> {
        let rounds = self.closed.iter().chain(&self.open);
        rounds.flat_map(|round| [("bare", &round.bare), ("target", &round.target)])
    }

    /// Failures by server and kind; also calls the rate asked for but nobody sent.
    fn trouble(&self) -> BTreeMap<String, u64> {
        let unended = self.unended.iter().cloned();
        let mut trouble: BTreeMap<_, _> = unended.map(|what| (what, 1)).collect();
        for (name, load) in self.loads() {
            for (kind, count) in &load.errors_by_kind {
                *trouble.entry(format!("{name}: {kind}")).or_default() += count;
            }
            if load.unsent > 0 {
                let late = format!("{name}: unsent, too slow for the rate");
                *trouble.entry(late).or_default() += load.unsent;
            }
        }
        trouble
    }

    fn rows(&self) -> String {
        let head = [
            "round",
            "bare calls/s",
            "target",
            "ratio",
            "bare us/call",
            "target",
            "ratio",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let pairs = self
            .throughput
            .rounds
            .iter()
            .zip(&self.cpu_micros_per_call.rounds);
        for (number, (rate, cpu)) in (1..).zip(pairs) {
            let mut row = vec![format!("{number}")];
            row.extend(cells(*rate, rounded));
            row.extend(cells(*cpu, |micros| format!("{micros:.1}")));
            rows.push(row);
        }
        table(&rows)
    }
}

impl fmt::Display for CompareReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.rows())?;
        writeln!(f, "{}", throughput_line(&self.throughput))?;
        let rate = grouped(self.rate);
        writeln!(
            f,
            "{} at {rate} calls/s",
            cpu_line(&self.cpu_micros_per_call)
        )?;
        let Pair { bare, target } = self.p99_ms.median;
        write!(
            f,
            "p99 latency   bare {bare:.2}, target {target:.2} ms at {rate} calls/s"
        )?;
        for (what, count) in self.trouble() {
            write!(f, "\nerrors        {} x {what}", grouped(count))?;
        }
        Ok(())
    }
}

fn throughput_line(figure: &Comparison) -> String {
    let (bare, target) = (rounded(figure.median.bare), rounded(figure.median.target));
    let (ratio, rounds) = (shown(figure.ratio), figure.rounds.len());
    format!(
        "throughput    {ratio} of bare (median of {rounds})   bare {bare}, target {target} calls/s"
    )
}

fn cpu_line(figure: &Comparison) -> String {
    let Pair { bare, target } = figure.median;
    let (ratio, rounds) = (shown(figure.ratio), figure.rounds.len());
    format!(
        "cpu per call  {ratio}x of bare (median of {rounds})  bare {bare:.1}, target {target:.1} us"
    )
}

fn figure(rounds: &[Round], of: impl Fn(&LoadReport) -> f64) -> Comparison {
    let pairs = rounds.iter().map(|round| Pair {
        bare: of(&round.bare),
        target: of(&round.target),
    });
    compare(pairs.collect())
}

fn cells(pair: Pair, show: impl Fn(f64) -> String) -> [String; 3] {
    [show(pair.bare), show(pair.target), shown(pair.ratio())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Latency;

    fn load(rate: f64, micros: f64) -> LoadReport {
        LoadReport {
            calls: 1000,
            calls_per_second: rate,
            seconds: 1.0,
            unsent: 0,
            errors: 0,
            errors_by_kind: BTreeMap::new(),
            latency_ms: Latency {
                p50: 1.0,
                p95: 2.0,
                p99: micros / 10.0,
                max: 9.0,
            },
            cpu_micros_per_call: Some(micros),
            resident_kib: None,
        }
    }

    fn rounds() -> Vec<Round> {
        let round = |target: f64| Round {
            bare: load(100_000.0, 10.0),
            target: load(target, 14.5),
        };
        vec![round(70_000.0), round(71_000.0), round(90_000.0)]
    }

    #[test]
    fn the_medians_stand_with_their_figures() {
        let text = CompareReport::new(8000, rounds(), rounds()).to_string();
        for part in [
            "0.71 of bare (median of 3)   bare 100,000, target 71,000 calls/s",
            "1.45x of bare (median of 3)  bare 10.0, target 14.5 us at 8,000 calls/s",
            "bare 1.00, target 1.45 ms",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert_eq!(
            text.lines().nth(2).map(str::trim_start),
            Some("2       100,000  71,000   0.71          10.0    14.5   1.45",)
        );
        assert!(!text.contains("errors"));
    }

    #[test]
    fn errors_of_any_round_are_summed_by_server_and_kind() {
        let mut closed = rounds();
        for round in &mut closed[..2] {
            round.target.errors = 3;
            round.target.errors_by_kind.insert("HTTP 503".to_owned(), 3);
        }
        let mut open = rounds();
        open[0].bare.unsent = 5;
        let mut report = CompareReport::new(8000, closed, open);
        report.unended.push("bare: session not ended".to_owned());
        let text = report.to_string();
        assert_eq!(report.errors(), 7);
        assert!(text.contains("1 x bare: session not ended"), "{text}");
        assert!(text.contains("6 x target: HTTP 503"), "{text}");
        assert!(text.contains("5 x bare: unsent"), "{text}");
    }
}
