//! What watches a cluster: a metric that was renamed would silence its alert, and an alert
//! that nobody explains helps nobody.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::tidy::size::rust_files;

const ALERTS: &str = "charts/hexagram/templates/alerts.yaml";
const DASHBOARD: &str = "charts/hexagram/files/dashboard.json";
const GUIDE: &str = "docs/operations.md";

/// What a metric of ours begins with, and one of the process.
const OURS: [&str; 2] = ["hexagram_", "process_"];
/// What stands before its name where it is made.
const MADE: [&str; 8] = [
    "counter(",
    "counters(",
    "gauge(",
    "gauges(",
    "ratio(",
    "ratios(",
    "histograms(",
    "= (",
];
/// What Prometheus appends to the name of a histogram.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// How many metrics and alerts there are, all of which are right.
///
/// # Errors
/// With those that are not.
pub(super) fn check(root: &Path) -> Result<String> {
    let read =
        |file: &str| fs::read_to_string(root.join(file)).with_context(|| format!("read {file}"));
    let (alerts, dashboard, guide) = (read(ALERTS)?, read(DASHBOARD)?, read(GUIDE)?);
    let used: BTreeSet<_> = metrics(&alerts).chain(metrics(&dashboard)).collect();
    let missing = missing(&used, &made(root)?);
    ensure!(
        missing.is_empty(),
        "{ALERTS} or {DASHBOARD} names what no code makes: {}",
        missing.join(", ")
    );
    let named = alert_names(&alerts);
    let explained = explained(&guide);
    ensure!(
        named == explained,
        "{GUIDE} has to explain each alert once: it lacks {:?}, and there is no {:?}",
        named.difference(&explained),
        explained.difference(&named)
    );
    let (metrics, alerts) = (used.len(), named.len());
    Ok(format!("{alerts} alerts and {metrics} metrics are there"))
}

/// The names of metrics in a text.
fn metrics(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| OURS.iter().any(|ours| word.starts_with(ours)))
}

/// The metrics that the sources make.
fn made(root: &Path) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for file in rust_files(root)? {
        let source = fs::read_to_string(&file)?;
        all.extend(made_in(&source).map(str::to_owned));
    }
    Ok(all)
}

fn made_in(source: &str) -> impl Iterator<Item = &str> {
    let quotes = source.match_indices('"');
    let made = quotes.filter(|(at, _)| {
        let before = source[..*at].trim_end();
        MADE.iter().any(|made| before.ends_with(made))
    });
    made.filter_map(|(at, _)| {
        let (name, _) = source[at + 1..].split_once('"')?;
        metrics(name).next().filter(|metric| *metric == name)
    })
}

fn missing<'a>(used: &BTreeSet<&'a str>, made: &BTreeSet<String>) -> Vec<&'a str> {
    let is_made = |metric: &str| {
        let parts = PARTS.iter().filter_map(|part| metric.strip_suffix(part));
        std::iter::once(metric)
            .chain(parts)
            .any(|name| made.contains(name))
    };
    used.iter()
        .copied()
        .filter(|metric| !is_made(metric))
        .collect()
}

fn alert_names(alerts: &str) -> BTreeSet<&str> {
    let lines = alerts.lines().map(str::trim);
    lines
        .filter_map(|line| line.strip_prefix("- alert: "))
        .collect()
}

/// The alerts that have a row in the guide's table.
fn explained(guide: &str) -> BTreeSet<&str> {
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| "));
    let firsts = rows.filter_map(|row| row.split(" |").next());
    firsts.filter(|cell| cell.starts_with("Hexagram")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_made_counts() {
        let source = "m.gauge(\n    \"hexagram_a\", \"A.\"); m.counters(\"hexagram_b_total\", &[]);\n\
                      const CPU: (&str, &str) = (\n \"process_c\", \"C.\");\n\
                      shows(\"hexagram_d\"); m.gauge(\"hexagram_e 1\");";
        let made: Vec<_> = made_in(source).collect();
        assert_eq!(made, ["hexagram_a", "hexagram_b_total", "process_c"]);
    }

    #[test]
    fn a_metric_that_was_renamed_is_found() {
        let text = r#"rate(hexagram_a_seconds_bucket{x="hexagram"}[5m]) > hexagram_b / up"#;
        let used: BTreeSet<_> = metrics(text).collect();
        let made = ["hexagram_a_seconds".to_owned(), "hexagram_c".to_owned()];
        assert_eq!(missing(&used, &made.into()), ["hexagram_b"]);
    }

    #[test]
    fn an_alert_has_a_row_in_the_guide() {
        let alerts = alert_names("rules:\n  - alert: HexagramFull\n    expr: a > b\n");
        assert_eq!(alerts, ["HexagramFull"].into());
        let guide =
            "| alert | what | do |\n|---|---|---|\n| HexagramFull | a | b |\nHexagramOther\n";
        assert_eq!(explained(guide), alerts);
    }
}
