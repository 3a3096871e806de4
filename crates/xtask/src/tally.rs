//! Counting what test runners report.

use std::ops::AddAssign;

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Sums the `test result:` lines of cargo's test runners; other lines count nothing.
    pub(crate) fn of<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sum = Self::default();
        lines
            .into_iter()
            .filter_map(Self::parse)
            .for_each(|tally| sum += tally);
        sum
    }

    /// `test result: ok. 5 passed; 0 failed; 0 ignored; ...`
    fn parse(line: &str) -> Option<Self> {
        let (_verdict, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let count = |name| {
            counts
                .split("; ")
                .find_map(|part| part.strip_suffix(name)?.trim_end().parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
        })
    }

    pub(crate) fn total(self) -> u64 {
        self.passed + self.failed
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_runners_and_ignores_the_rest() {
        let lines = [
            "running 3 tests",
            "test a::b ... ok",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
            "error: test failed, to rerun pass `--lib`",
        ];
        let expected = Tally {
            passed: 13,
            failed: 2,
        };
        assert_eq!(Tally::of(lines), expected);
    }

    #[test]
    fn a_result_line_of_another_shape_counts_nothing() {
        assert_eq!(Tally::of(["test result: ok", ""]), Tally::default());
    }
}
