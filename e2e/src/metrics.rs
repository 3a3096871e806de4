//! Metrics in Prometheus' text form, as one page of them.

/// What a process shows at `/metrics`.
#[derive(Debug, Clone)]
pub struct Metrics(String);

impl From<String> for Metrics {
    fn from(page: String) -> Self {
        Self(page)
    }
}

impl Metrics {
    /// The sum of a metric's series that have all these labels (`name="value"`); 0 without
    /// any.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let has = |found: &[&str]| labels.iter().all(|label| found.contains(label));
        let series = self.series(name).filter(|(found, _)| has(found));
        series.map(|(_, value)| value).sum()
    }

    /// A metric's series by the value of this label.
    #[must_use]
    pub fn by(&self, name: &str, label: &str) -> Vec<(&str, f64)> {
        let series = self.series(name);
        let told = series.filter_map(|(labels, value)| Some((value_of(&labels, label)?, value)));
        told.collect()
    }

    fn series(&self, name: &str) -> impl Iterator<Item = (Vec<&str>, f64)> {
        self.0.lines().filter_map(move |line| {
            let (head, value) = line.rsplit_once(' ')?;
            let (found, labels) = head.split_once('{').unwrap_or((head, ""));
            let labels = labels.trim_end_matches('}').split(',').collect();
            (found == name).then(|| Some((labels, value.parse().ok()?)))?
        })
    }
}

fn value_of<'a>(labels: &[&'a str], label: &str) -> Option<&'a str> {
    let pairs = labels.iter().filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == label);
    values.next().map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP moves_total Moves.
# TYPE moves_total counter
moves_total{step=\"planned\",why=\"load\"} 3
moves_total{step=\"planned\",why=\"drain\"} 4
moves_total{step=\"committed\",why=\"load\"} 2
moves_total_more{step=\"planned\"} 50
bytes 1.5e+06
";

    #[test]
    fn series_are_summed_by_their_labels() {
        let page = Metrics::from(PAGE.to_owned());
        let sum = |labels: &[&str]| page.sum("moves_total", labels);
        assert!((sum(&[]) - 9.0).abs() < 1e-9);
        assert!((sum(&["step=\"planned\""]) - 7.0).abs() < 1e-9);
        assert!((sum(&["step=\"planned\"", "why=\"load\""]) - 3.0).abs() < 1e-9);
        assert!((page.sum("bytes", &[]) - 1.5e6).abs() < 1e-9);
        assert!(page.sum("absent", &[]).abs() < 1e-9);
    }

    #[test]
    fn series_are_told_apart_by_a_label() {
        let page = Metrics::from(PAGE.to_owned());
        let told = page.by("moves_total", "why");
        assert_eq!(told, [("load", 3.0), ("drain", 4.0), ("load", 2.0)]);
        assert_eq!(page.by("bytes", "why"), []);
    }
}
