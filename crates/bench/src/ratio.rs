//! Target beside bare: same-round ratios and their median.
//!
//! One command varies by tens of percent within seconds on a shared machine;
//! two runs of one round are neighbours in time, so their ratio varies less.

use serde::Serialize;

/// One figure of both servers in one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Pair {
    pub(crate) bare: f64,
    pub(crate) target: f64,
}

/// One figure over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Comparison {
    /// Median of the same-round ratios, target over bare.
    pub(crate) ratio: f64,
    /// Median of each server's own figures.
    pub(crate) median: Pair,
    pub(crate) rounds: Vec<Pair>,
}

impl Pair {
    /// Target over bare; NaN when bare has no figure.
    pub(crate) fn ratio(self) -> f64 {
        if self.bare > 0.0 {
            self.target / self.bare
        } else {
            f64::NAN
        }
    }
}

/// A ratio for people; `?` when there is none.
pub(crate) fn shown(ratio: f64) -> String {
    if ratio.is_nan() {
        "?".to_owned()
    } else {
        format!("{ratio:.2}")
    }
}

/// Compares round by round. With no round at all, every figure is NaN.
pub(crate) fn compare(rounds: Vec<Pair>) -> Comparison {
    let median_of = |figure: fn(Pair) -> f64| median(rounds.iter().copied().map(figure).collect());
    Comparison {
        ratio: median_of(Pair::ratio),
        median: Pair {
            bare: median_of(|pair| pair.bare),
            target: median_of(|pair| pair.target),
        },
        rounds,
    }
}

/// The middle value, or the mean of the two in the middle; NaN of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (1, Some(&value)) => value,
        (_, Some(&value)) => f64::midpoint(values[middle - 1], value),
        (_, None) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(bare: f64, target: f64) -> Pair {
        Pair { bare, target }
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(vec![9.0, 1.0, 5.0, 6.0]), 5.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn the_ratio_is_of_the_same_round_not_of_the_medians() {
        let comparison = compare(vec![pair(100.0, 50.0), pair(10.0, 9.0), pair(40.0, 30.0)]);
        assert_eq!(comparison.ratio, 0.75);
        assert_eq!(comparison.median, pair(40.0, 30.0));
    }

    #[test]
    fn no_reference_is_no_ratio() {
        assert!(pair(0.0, 5.0).ratio().is_nan());
        assert!(compare(Vec::new()).ratio.is_nan());
        assert_eq!(
            (shown(f64::NAN), shown(0.714)),
            ("?".to_owned(), "0.71".to_owned())
        );
    }
}
