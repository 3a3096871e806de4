//! Pauses between attempts to open an upstream's stream again.

use std::time::Duration;

/// Pause before an upstream's broken stream is opened again, doubled each time.
pub(crate) const FIRST_REOPEN: Duration = Duration::from_millis(500);
pub(crate) const LAST_REOPEN: Duration = Duration::from_secs(30);

/// The pause after a stream that lived so long.
pub(crate) fn next_pause(pause: Duration, lived: Duration) -> Duration {
    match lived > LAST_REOPEN {
        true => FIRST_REOPEN,
        false => (pause * 2).min(LAST_REOPEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_start_anew_after_a_long_life() {
        let mut pause = FIRST_REOPEN;
        for _ in 0..20 {
            let next = next_pause(pause, Duration::ZERO);
            assert!(next >= pause && next <= LAST_REOPEN);
            pause = next;
        }
        assert_eq!(pause, LAST_REOPEN);
        assert_eq!(next_pause(pause, LAST_REOPEN * 2), FIRST_REOPEN);
    }
}
