//! How long the pauses are between attempts to open an upstream's stream again.

use std::time::Duration;

/// Pause before an upstream's broken stream is opened again, doubled each time.
pub(crate) const FIRST_REOPEN: Duration = Duration::from_millis(500);
pub(crate) const LAST_REOPEN: Duration = Duration::from_secs(30);

/// The pause after one of this length.
pub(crate) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LAST_REOPEN)
}

/// How the pauses of one stream grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Growth {
    first: Duration,
    next: Duration,
}

impl Default for Growth {
    fn default() -> Self {
        Self::beginning(FIRST_REOPEN)
    }
}

impl Growth {
    fn beginning(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// The pause after a stream that lived so long since the last one.
    pub(crate) fn pause(&mut self, lived: Duration) -> Duration {
        if lived > LAST_REOPEN {
            self.begin_anew();
        }
        let pause = self.next;
        self.next = longer(pause);
        pause
    }

    pub(crate) fn begin_anew(&mut self) {
        self.next = FIRST_REOPEN;
    }

    pub(crate) fn lose_session(&mut self) {
        self.next = self.next.min(self.first);
    }

    /// That of the stream in this one's place, which lived so long all in all.
    pub(crate) fn successor(self, lived: Duration) -> Self {
        match lived > LAST_REOPEN {
            true => Self::default(),
            false => Self::beginning(longer(self.first)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_grow_to_their_limit_and_begin_anew_after_a_long_life(
            lives in prop::collection::vec(0..60u64, 1..60),
        ) {
            let mut growth = Growth::default();
            let mut before = Duration::ZERO;
            for life in lives.into_iter().map(Duration::from_secs) {
                let pause = growth.pause(life);
                prop_assert!((FIRST_REOPEN..=LAST_REOPEN).contains(&pause));
                match life > LAST_REOPEN {
                    true => prop_assert_eq!(pause, FIRST_REOPEN),
                    false => prop_assert!(pause > before || pause == LAST_REOPEN),
                }
                before = pause;
            }
        }
    }
}
