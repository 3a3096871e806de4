//! The wall clock, read in this one place.
//!
//! Wall time serves token expiry and display only (DESIGN section 4): durations
//! are monotonic, and nothing about ownership uses a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC; 0 on a machine whose clock is set before that.
#[must_use]
pub fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// Milliseconds since 1970-01-01 UTC; 0 on a machine whose clock is set before that.
#[must_use]
pub fn unix_millis() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::unix_seconds;

    #[test]
    fn counts_seconds_from_1970() {
        let year_2025 = 1_735_689_600;
        let year_2100 = 4_102_444_800;
        assert!((year_2025..year_2100).contains(&unix_seconds()));
    }
}
