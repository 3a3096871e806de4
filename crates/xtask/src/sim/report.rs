//! What the seeds add up to, and where that is kept.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Selection, Told};

/// What follows this line of the document is the report.
const HEADING: &str = "## The last report\n";

/// All seeds together.
#[derive(Debug, Default)]
pub(super) struct Total {
    pub(super) seeds: u64,
    /// Seeds that broke something, and what.
    pub(super) broken: Vec<(u64, Vec<String>)>,
    numbers: BTreeMap<String, u64>,
    /// In microseconds, sorted when they are asked for.
    times: BTreeMap<String, Vec<u64>>,
}

impl Total {
    pub(super) fn add(&mut self, told: Told) {
        self.seeds += 1;
        for (name, value) in told.counts {
            match value {
                serde_json::Value::Array(times) => {
                    let times = times.iter().filter_map(serde_json::Value::as_u64);
                    self.times.entry(name).or_default().extend(times);
                }
                value => *self.numbers.entry(name).or_default() += value.as_u64().unwrap_or(0),
            }
        }
        if !told.violations.is_empty() {
            self.broken.push((told.seed, told.violations));
        }
    }

    /// A count of all seeds.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or_default()
    }

    /// Times of all seeds in microseconds, in order.
    pub(super) fn times(&self, name: &str) -> Vec<u64> {
        let mut times = self.times.get(name).cloned().unwrap_or_default();
        times.sort_unstable();
        times
    }

    /// The report.
    pub(super) fn text(&self, selection: &Selection) -> String {
        let last = selection.from + selection.seeds - 1;
        let mut text = format!(
            "\nSeeds {} to {last}: {} of {} broke nothing.\n\n| | |\n|---|---|\n",
            selection.from,
            self.seeds - self.broken.len() as u64,
            self.seeds
        );
        for (label, name) in [
            ("messages sent", "sent"),
            ("answered", "answered"),
            ("refused", "refused"),
            ("outcome unknown", "unknown"),
            ("session gone, or ended by its client", "gone"),
            ("cut off with their edge or its network", "cut"),
            ("lost silently", "lost"),
            ("run twice", "twice"),
            ("planned moves", "moves"),
            ("planned moves given up", "aborted"),
            ("failovers", "failovers"),
        ] {
            // A String takes everything.
            let _ = writeln!(text, "| {label} | {} |", self.number(name));
        }
        for (label, name) in [
            ("pause of a planned move", "pauses"),
            ("full service after the last fault", "healings"),
        ] {
            let times = self.times(name);
            let at = |percent| millis(&times, percent);
            let [p50, p99, max] = [at(50), at(99), at(100)];
            let _ = writeln!(
                text,
                "| {label}, p50 / p99 / max | {p50} / {p99} / {max} ms |"
            );
        }
        for (seed, violations) in &self.broken {
            let _ = writeln!(text, "\nSeed {seed}: {}", violations.join("; "));
        }
        text
    }
}

/// The time below which `percent` of the sorted `times` lie, in milliseconds.
fn millis(times: &[u64], percent: usize) -> u64 {
    let last = times.len().saturating_sub(1);
    times.get(last * percent / 100).copied().unwrap_or_default() / 1_000
}

/// Puts the report into the document, in the place of the last one.
///
/// # Errors
/// When the document cannot be read or written, or has no place for it.
pub(super) fn write(document: &Path, report: &str) -> Result<()> {
    let name = document.display();
    let text = fs::read_to_string(document).with_context(|| format!("read {name}"))?;
    let (before, _) = text
        .split_once(HEADING)
        .with_context(|| format!("{name} has no line {:?}", HEADING.trim()))?;
    fs::write(document, format!("{before}{HEADING}{report}"))
        .with_context(|| format!("write {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_takes_the_place_of_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let document = folder.path().join("a.md");
        assert!(write(&document, "x").is_err(), "there is no document");
        fs::write(&document, "# A\n").unwrap();
        assert!(write(&document, "x").is_err(), "it has no place");
        fs::write(&document, format!("# A\n{HEADING}\nold\n")).unwrap();
        write(&document, "\nnew\n").unwrap();
        let text = fs::read_to_string(&document).unwrap();
        assert_eq!(text, format!("# A\n{HEADING}\nnew\n"));
    }

    #[test]
    fn figures_are_found_by_rank() {
        let times: Vec<_> = (1..=100).map(|n| n * 1_000).collect();
        assert_eq!(
            [0, 50, 99, 100].map(|at| millis(&times, at)),
            [1, 50, 99, 100]
        );
        assert_eq!(millis(&[], 50), 0);
    }
}
