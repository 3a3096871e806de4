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
        let series = self.0.lines().filter_map(|line| {
            let (head, value) = line.rsplit_once(' ')?;
            let (found, rest) = head.split_once('{').unwrap_or((head, ""));
            let has = |label: &&str| rest.trim_end_matches('}').split(',').any(|it| it == *label);
            (found == name && labels.iter().all(has)).then(|| value.parse::<f64>().ok())?
        });
        series.sum()
    }
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
}
