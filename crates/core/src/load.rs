//! How busy a shard keeps its worker, averaged over time (DESIGN section 9).

use std::time::Duration;

/// What is so old counts half.
const HALF_LIFE: Duration = Duration::from_secs(30);
/// One core's time.
const WHOLE: f64 = 1_000_000.0;

/// The share of one core's time that something took, averaged: what is half a minute
/// old counts half. It is right from the first measurement on, not only after a
/// half-life, so that a shard that has just come does not seem to be idle.
///
/// ```
/// use hexagram_core::LoadAverage;
/// use std::time::Duration;
/// let mut load = LoadAverage::default();
/// load.add(Duration::from_millis(250), Duration::from_secs(1));
/// assert_eq!(load.millionths(), 250_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadAverage {
    sum: f64,
    weight: f64,
}

impl LoadAverage {
    /// It took `busy` of the last `time`.
    pub fn add(&mut self, busy: Duration, time: Duration) {
        if time.is_zero() {
            return;
        }
        let kept = (-time.div_duration_f64(HALF_LIFE)).exp2();
        self.sum = self.sum * kept + busy.div_duration_f64(time) * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
    }

    /// In millionths of one core's time; 0 before the first measurement.
    #[must_use]
    pub fn millionths(&self) -> u32 {
        if self.weight == 0.0 {
            return 0;
        }
        // No machine has four thousand cores; a larger number stays at the limit.
        (self.sum / self.weight * WHOLE).round() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(mut load: LoadAverage, share: f64, seconds: u32) -> LoadAverage {
        (0..seconds).for_each(|_| load.add(SECOND.mul_f64(share), SECOND));
        load
    }

    #[test]
    fn half_a_minute_counts_half() {
        let idle = after(LoadAverage::default(), 0.0, 3_600);
        let half = after(idle, 0.8, 30);
        assert_eq!(half.millionths(), 400_000);
        assert_eq!(after(half, 0.8, 30).millionths(), 600_000);
        assert_eq!(after(half, 0.0, 30).millionths(), 200_000);
    }

    #[test]
    fn a_constant_load_is_known_at_once_and_however_it_is_measured() {
        assert_eq!(LoadAverage::default().millionths(), 0);
        for seconds in [1, 2, 10, 100] {
            let load = after(LoadAverage::default(), 0.3, seconds);
            assert_eq!(load.millionths(), 300_000);
        }
        let mut rarely = after(LoadAverage::default(), 0.5, 10);
        rarely.add(SECOND, 20 * SECOND);
        let often = after(after(LoadAverage::default(), 0.5, 10), 0.05, 20);
        assert_eq!(rarely.millionths(), often.millionths());
    }

    #[test]
    fn no_time_changes_nothing_and_two_cores_are_two() {
        let mut load = after(LoadAverage::default(), 2.0, 1);
        load.add(SECOND, Duration::ZERO);
        assert_eq!(load.millionths(), 2_000_000);
        assert_eq!(after(load, 1e9, 1).millionths(), u32::MAX);
    }
}
