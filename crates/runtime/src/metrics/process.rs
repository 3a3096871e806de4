//! Metrics of the process itself, under the names every Prometheus client uses.
//!
//! The prometheus crate's own collector would bring a procfs library; four
//! values need none.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};

use crate::clock::unix_seconds;

/// Clock ticks a second in `/proc/self/stat`: fixed at 100 in the Linux ABI of
/// every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

const MEMORY: (&str, &str) = (
    "process_resident_memory_bytes",
    "Resident memory size in bytes.",
);
const CPU: (&str, &str) = (
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
);
const FILES: (&str, &str) = ("process_open_fds", "Number of open file descriptors.");
const START: (&str, &str) = (
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
);

/// Reads `/proc/self` at every scrape; what cannot be read is left out.
pub(super) struct ProcessCollector {
    descriptions: Vec<Desc>,
    started: f64,
}

impl ProcessCollector {
    pub(super) fn new() -> Self {
        let describe = |(name, help): (&str, &str)| {
            Desc::new(name.to_owned(), help.to_owned(), vec![], [].into()).ok()
        };
        Self {
            descriptions: [MEMORY, CPU, FILES, START]
                .into_iter()
                .filter_map(describe)
                .collect(),
            #[expect(clippy::cast_precision_loss, reason = "exact for 285 million years")]
            started: unix_seconds() as f64,
        }
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Fresh metrics at every scrape: no state to race on.
        let families = [
            resident_bytes().and_then(|bytes| gauge(MEMORY, bytes)),
            cpu_seconds().and_then(|seconds| counter(CPU, seconds)),
            open_files().and_then(|files| gauge(FILES, files)),
            gauge(START, self.started),
        ];
        families.into_iter().flatten().flatten().collect()
    }
}

fn gauge((name, help): (&str, &str), value: f64) -> Option<Vec<MetricFamily>> {
    let gauge = Gauge::with_opts(Opts::new(name, help)).ok()?;
    gauge.set(value);
    Some(gauge.collect())
}

fn counter((name, help): (&str, &str), value: f64) -> Option<Vec<MetricFamily>> {
    let counter = Counter::with_opts(Opts::new(name, help)).ok()?;
    counter.inc_by(value);
    Some(counter.collect())
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name and may hold anything, also `)`.
    let (_, fields) = stat.rsplit_once(')')?;
    // utime and stime are fields 14 and 15; the first one left is field 3.
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Option<f64> = ticks.map(|field| field.parse::<f64>().ok()).sum();
    Some(ticks? / TICKS_PER_SECOND)
}

fn open_files() -> Option<f64> {
    // The directory is itself open while it is read.
    let files = fs::read_dir("/proc/self/fd").ok()?.count() - 1;
    u32::try_from(files).ok().map(f64::from)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn collects_every_described_metric() {
        let collector = ProcessCollector::new();
        let families = collector.collect();
        let names: Vec<_> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names, [MEMORY.0, CPU.0, FILES.0, START.0]);
        assert_eq!(collector.desc().len(), names.len());
    }

    #[test]
    fn memory_and_cpu_time_are_those_of_this_process() {
        let bytes = resident_bytes().expect("/proc is mounted");
        assert!((1e5..1e12).contains(&bytes), "{bytes}");
        let before = cpu_seconds().expect("/proc is mounted");
        // Reading costs CPU time itself.
        let grows = |_| cpu_seconds().is_some_and(|seconds| seconds > before);
        assert!((0..1_000_000).any(grows), "stuck at {before}");
    }

    #[test]
    fn open_files_are_counted() {
        let many: Vec<_> = (0..100)
            .map(|_| File::open("/proc/self/stat").expect("/proc is mounted"))
            .collect();
        assert!(open_files().expect("/proc is mounted") > 100.0);
        drop(many);
    }
}
