//! What a run came to, for people and for programs.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::Serialize;

use super::args::SessionsArgs;
use super::ledger::{Counts, Failures, Ledger, sum};
use super::timeline::Second;
use super::trial::Chosen;
use crate::failure::Failure;
use crate::report::millis;
use crate::tally::Latencies;
use crate::text::{grouped, table};

/// The result of `bench sessions`. The keys are told in its `--help` and stay.
#[derive(Debug, Serialize)]
pub(crate) struct SessionsReport {
    ok: bool,
    url: String,
    /// What was called.
    call: String,
    clients: Clients,
    /// Calls a second of each client.
    rate: f64,
    /// How long calls were sent.
    seconds: f64,
    total: EraReport,
    legacy: EraReport,
    modern: EraReport,
    outage_ms: f64,
    outage_from_ms: f64,
    timeline: Vec<Second>,
}

#[derive(Debug, Serialize)]
struct Clients {
    legacy: u16,
    modern: u16,
}

#[derive(Debug, Default, Serialize)]
struct EraReport {
    sent: u64,
    answered: u64,
    retried: u64,
    resumed: u64,
    refused: u64,
    refused_by: Vec<Refusal>,
    unknown: u64,
    failed: u64,
    failed_by: Vec<Counted>,
    lost: u64,
    unsent: u64,
    latency_ms: LatencyReport,
    sessions: SessionReport,
    streams: StreamReport,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Refusal {
    status: u16,
    code: Option<i64>,
    reason: Option<String>,
    /// With what the server said the first time.
    message: String,
    count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Counted {
    failure: String,
    count: u64,
}

#[derive(Debug, Default, Serialize)]
struct LatencyReport {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[derive(Debug, Default, Serialize)]
struct SessionReport {
    opened: u64,
    lost: u64,
    not_deleted: u64,
}

#[derive(Debug, Default, Serialize)]
struct StreamReport {
    opened: u64,
    reopened: u64,
    ended: u64,
    broken: u64,
    failed: u64,
    failed_by: Vec<Counted>,
    not_offered: u64,
    longest_gap_ms: f64,
    open: u64,
}

impl SessionsReport {
    pub(super) fn new(
        args: &SessionsArgs,
        chosen: &Chosen,
        sent_for: Duration,
        ledger: &Ledger,
    ) -> Self {
        let total = EraReport::new(&[&ledger.legacy, &ledger.modern]);
        Self {
            ok: total.troubles() == 0,
            url: args.url.clone(),
            call: chosen.to_string(),
            clients: Clients {
                legacy: args.legacy,
                modern: args.modern,
            },
            rate: args.rate as f64 / 1e3,
            seconds: sent_for.as_secs_f64(),
            total,
            legacy: EraReport::new(&[&ledger.legacy]),
            modern: EraReport::new(&[&ledger.modern]),
            outage_ms: millis(ledger.timeline.outage()),
            outage_from_ms: millis(ledger.timeline.outage_from()),
            timeline: ledger.timeline.seconds().to_vec(),
        }
    }

    /// What somebody noticed, however often.
    pub(crate) fn troubles(&self) -> u64 {
        self.total.troubles()
    }
}

impl EraReport {
    /// The counts of one era, or of several together.
    fn new(eras: &[&Counts]) -> Self {
        let all = |count: fn(&Counts) -> u64| eras.iter().map(|era| count(era)).sum();
        let kinds = |failures: fn(&Counts) -> &Failures| merged(eras.iter().map(|it| failures(it)));
        let mut latencies = Latencies::default();
        eras.iter().for_each(|era| latencies.add(&era.latencies));
        Self {
            sent: all(|it| it.sent),
            answered: all(|it| it.answered),
            retried: all(|it| it.retried),
            resumed: all(|it| it.resumed),
            refused: all(|it| sum(&it.refused)),
            refused_by: kinds(|it| &it.refused).iter().map(refusal).collect(),
            unknown: all(|it| it.unknown),
            failed: all(|it| sum(&it.failed)),
            failed_by: counted(&kinds(|it| &it.failed)),
            lost: all(Counts::lost),
            unsent: all(|it| it.unsent),
            latency_ms: LatencyReport::new(&latencies),
            sessions: SessionReport {
                opened: all(|it| it.sessions.opened),
                lost: all(|it| it.sessions.lost),
                not_deleted: all(|it| it.sessions.not_deleted),
            },
            streams: StreamReport {
                opened: all(|it| it.streams.opened),
                reopened: all(|it| it.streams.reopened),
                ended: all(|it| it.streams.ended),
                broken: all(|it| it.streams.broken),
                failed: all(|it| sum(&it.streams.failed)),
                failed_by: counted(&kinds(|it| &it.streams.failed)),
                not_offered: all(|it| it.streams.not_offered),
                longest_gap_ms: eras
                    .iter()
                    .map(|it| millis(it.streams.longest_gap))
                    .fold(0.0, f64::max),
                open: all(|it| it.streams.open),
            },
        }
    }

    /// Calls without an answer.
    fn unanswered(&self) -> u64 {
        self.refused + self.unknown + self.failed + self.lost
    }

    fn troubles(&self) -> u64 {
        self.unanswered() + self.sessions.lost + self.streams.broken + self.streams.failed
    }
}

impl LatencyReport {
    fn new(latencies: &Latencies) -> Self {
        let at = |quantile| millis(latencies.at(quantile));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        }
    }
}

fn merged<'a>(all: impl Iterator<Item = &'a Failures>) -> Failures {
    let mut merged = Failures::new();
    for (failure, count) in all.flatten() {
        *merged.entry(failure.clone()).or_default() += count;
    }
    merged
}

fn counted(failures: &Failures) -> Vec<Counted> {
    let counted = |(failure, count): (&Failure, &u64)| Counted {
        failure: failure.to_string(),
        count: *count,
    };
    failures.iter().map(counted).collect()
}

fn refusal((failure, count): (&Failure, &u64)) -> Refusal {
    let (status, code, reason) = match failure {
        Failure::Refused {
            status,
            code,
            reason,
            ..
        } => (*status, *code, reason.clone()),
        // A tool's error is a result.
        _ => (200, None, None),
    };
    Refusal {
        status,
        code,
        reason,
        message: failure.to_string(),
        count: *count,
    }
}

impl Display for SessionsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (call, url) = (&self.call, &self.url);
        let Clients { legacy, modern } = self.clients;
        writeln!(f, "{call} at {url}, {:.1} s", self.seconds)?;
        let (rate, plural) = (self.rate, if self.rate == 1.0 { "" } else { "s" });
        writeln!(
            f,
            "{legacy} legacy and {modern} modern clients, {rate} call{plural} a second each\n"
        )?;
        writeln!(f, "{}\n", table(&self.rows()))?;
        self.reasons(f)?;
        writeln!(
            f,
            "longest time without any answer: {:.0} ms, from {:.1} s on",
            self.outage_ms,
            self.outage_from_ms / 1e3
        )?;
        write!(f, "{}", self.verdict())
    }
}

impl SessionsReport {
    fn rows(&self) -> Vec<Vec<String>> {
        let count = |name: &str, of: fn(&EraReport) -> u64| {
            self.row(name, |era| grouped(of(era)), of(&self.total) > 0)
        };
        let latency = |name: &str, of: fn(&LatencyReport) -> f64| {
            let shown = self.total.answered > 0;
            let cell = |era: &EraReport| match era.answered {
                0 => "-".to_owned(),
                _ => format!("{:.1}", of(&era.latency_ms)),
            };
            self.row(name, cell, shown)
        };
        let always =
            |name: &str, of: fn(&EraReport) -> u64| self.row(name, |era| grouped(of(era)), true);
        let rows = [
            always("calls sent", |it| it.sent),
            always("answered", |it| it.answered),
            count("  on a second connection", |it| it.retried),
            count("  on a resumed stream", |it| it.resumed),
            always("refused", |it| it.refused),
            always("outcome unknown", |it| it.unknown),
            always("failed", |it| it.failed),
            always("lost", |it| it.lost),
            count("held up, never sent", |it| it.unsent),
            latency("latency ms, p50", |it| it.p50),
            latency("p90", |it| it.p90),
            latency("p99", |it| it.p99),
            latency("p99.9", |it| it.p999),
            latency("max", |it| it.max),
            always("sessions lost", |it| it.sessions.lost),
            count("sessions not deleted", |it| it.sessions.not_deleted),
            always("streams opened", |it| it.streams.opened),
            count("ended resumably", |it| it.streams.ended),
            always("broken", |it| it.streams.broken),
            count("opened again", |it| it.streams.reopened),
            count("failed to open", |it| it.streams.failed),
            count("not offered", |it| it.streams.not_offered),
            always("open at the end", |it| it.streams.open),
        ];
        let head = ["", "legacy", "modern"].map(str::to_owned).to_vec();
        std::iter::once(head)
            .chain(rows.into_iter().flatten())
            .collect()
    }

    /// A row with a cell for each era.
    fn row(
        &self,
        name: &str,
        cell: impl Fn(&EraReport) -> String,
        shown: bool,
    ) -> Option<Vec<String>> {
        // Names stand at the left, unlike other cells.
        shown.then(|| {
            vec![
                format!("{name:<24}"),
                cell(&self.legacy),
                cell(&self.modern),
            ]
        })
    }

    /// What was said where something was noticed.
    fn reasons(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = &self.total;
        let refused = total.refused_by.iter().map(|it| (it.count, &it.message));
        let failed = total.failed_by.iter().map(|it| (it.count, &it.failure));
        let streams = total.streams.failed_by.iter();
        for (count, said) in refused.chain(failed) {
            writeln!(f, "{} x {said}", grouped(count))?;
        }
        for Counted { count, failure } in streams {
            writeln!(f, "{} x stream: {failure}", grouped(*count))?;
        }
        Ok(())
    }

    fn verdict(&self) -> String {
        let total = &self.total;
        if total.sent == 0 {
            return "no call was sent".to_owned();
        }
        if self.ok {
            return "OK: every call was answered, no session was lost, no stream broke".to_owned();
        }
        let troubles = [
            (total.unanswered(), "calls not answered"),
            (total.sessions.lost, "sessions lost"),
            (total.streams.broken, "streams broken"),
            (total.streams.failed, "streams failed to open"),
        ];
        let seen = troubles.iter().filter(|(count, _)| *count > 0);
        let seen: Vec<_> = seen
            .map(|(count, what)| format!("{} {what}", grouped(*count)))
            .collect();
        format!("NOTICED: {}", seen.join(", "))
    }
}
