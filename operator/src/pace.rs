//! When the `Upstream` objects are looked at. What happens is gathered: a hundred objects
//! that are applied at once are one pass, and so are a rollout's pods.

use std::time::Duration;

use tokio::time::Instant;

/// What happens within so long is one pass.
const GATHER: Duration = Duration::from_secs(1);
/// Between two passes where nothing happens: nobody tells of the Secrets.
const LOOK: Duration = Duration::from_secs(30);
/// Between two passes of which the first failed.
const AGAIN: Duration = Duration::from_secs(5);

/// When the next pass is due.
#[derive(Debug)]
pub(crate) struct Pace {
    due: Instant,
    has_news: bool,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            due: now + GATHER,
            has_news: true,
        }
    }

    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Whether something has happened since the last pass.
    pub(crate) const fn has_news(&self) -> bool {
        self.has_news
    }

    /// Something happened that a pass is to follow.
    pub(crate) fn happened(&mut self, now: Instant) {
        self.has_news = true;
        self.due = self.due.min(now + GATHER);
    }

    /// A pass is over.
    pub(crate) fn passed(&mut self, now: Instant, has_failed: bool) {
        self.has_news = false;
        self.due = now + if has_failed { AGAIN } else { LOOK };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_within_a_second_is_one_pass() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.passed(start, false);
        assert_eq!((pace.due(), pace.has_news()), (start + LOOK, false));
        for after in 0..10 {
            pace.happened(start + GATHER * after / 10);
            assert_eq!((pace.due(), pace.has_news()), (start + GATHER, true));
        }
        let now = pace.due();
        pace.passed(now, false);
        assert_eq!((pace.due(), pace.has_news()), (now + LOOK, false));
    }

    #[test]
    fn a_pass_that_failed_comes_again_soon() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.passed(start, true);
        assert_eq!((pace.due(), pace.has_news()), (start + AGAIN, false));
        pace.happened(start);
        assert_eq!(pace.due(), start + GATHER);
    }
}
