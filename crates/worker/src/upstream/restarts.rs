//! When a command is started again that ended before it was ready.

use std::time::Duration;

use hexagram_runtime::random::jittered;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::pause::{FIRST_REOPEN, longer};

/// The starts of one command that failed in a row. The second time may be bad
/// luck; after that there are pauses between starts, for all clients together.
#[derive(Debug, Default)]
pub(super) struct Restarts(Mutex<Option<Failed>>);

#[derive(Debug, Clone, Copy)]
struct Failed {
    times: u32,
    at: Instant,
    /// Before the jitter.
    pause: Duration,
    next: Instant,
}

impl Restarts {
    /// Whether it may be started now.
    ///
    /// # Errors
    /// How often it failed, and how long to wait.
    pub(super) fn may_start(&self) -> Result<(), (u32, Duration)> {
        let failed = *self.0.lock();
        let wait = failed.map(|failed| (failed.times, failed.next.duration_since(Instant::now())));
        match wait {
            Some((times, wait)) if !wait.is_zero() => Err((times, wait)),
            _ => Ok(()),
        }
    }

    /// Whether there are pauses between its starts.
    pub(super) fn is_pausing(&self) -> bool {
        self.0.lock().is_some_and(|failed| failed.times > 1)
    }

    /// It got ready; `true` where that ends the pauses.
    pub(super) fn ready(&self) -> bool {
        let failed = self.0.lock().take();
        failed.is_some_and(|failed| failed.times > 1)
    }

    /// What was started at `since` ended early; `true` where pauses begin.
    pub(super) fn failed(&self, since: Instant) -> bool {
        let mut failed = self.0.lock();
        // Those that are started at the same time fail together.
        if failed.is_some_and(|last| last.at > since) {
            return false;
        }
        let now = Instant::now();
        let next = match *failed {
            None => Failed {
                times: 1,
                at: now,
                pause: FIRST_REOPEN,
                next: now,
            },
            Some(last) => Failed {
                times: last.times.saturating_add(1),
                at: now,
                pause: longer(last.pause),
                next: now + jittered(last.pause),
            },
        };
        *failed = Some(next);
        next.times == 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn pauses_begin_with_the_second_failure_and_grow() {
        let restarts = Restarts::default();
        let mut waits = Vec::new();
        for time in 1..=5 {
            tokio::time::advance(MOMENT).await;
            assert_eq!(restarts.failed(Instant::now()), time == 2);
            let wait = restarts.may_start().err();
            waits.extend(wait.map(|(_, wait)| wait));
            tokio::time::advance(wait.map_or(Duration::ZERO, |(_, wait)| wait)).await;
            assert_eq!(restarts.may_start(), Ok(()), "after its pause");
        }
        let limits = [500, 1000, 2000, 4000].map(Duration::from_millis);
        assert_eq!(waits.len(), limits.len());
        for (wait, limit) in waits.into_iter().zip(limits) {
            assert!(wait <= limit && wait >= limit / 2, "{wait:?} of {limit:?}");
        }
        assert!(restarts.is_pausing() && restarts.ready());
        assert!(!restarts.is_pausing() && !restarts.ready());
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_together_counts_once() {
        let restarts = Restarts::default();
        let since = Instant::now();
        tokio::time::advance(MOMENT).await;
        for _ in 0..10 {
            assert!(!restarts.failed(since));
        }
        assert_eq!(restarts.may_start(), Ok(()));
    }
}
