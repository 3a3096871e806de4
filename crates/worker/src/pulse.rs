//! Holds up what reaches a worker that was stopped for a while, until it knows again what
//! it owns (DESIGN 8). The rules are [`hexagram_core::Pulse`]'s.

use std::time::Duration;

use hexagram_core::Doubt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two looks where nothing comes in: a gap is found out if it is longer than
/// [`hexagram_core::Pulse::GAP`], and a process that is only busy raises no doubt.
const BEAT: Duration = Duration::from_millis(100);

/// Whether this worker may act on what it knows.
pub(crate) struct Pulse {
    // Without a register nobody else can have been given anything.
    is_watched: bool,
    // Of a monotonic clock: it goes on while the process is stopped.
    start: Instant,
    machine: Mutex<hexagram_core::Pulse>,
    doubt: watch::Sender<Option<Doubt>>,
}

impl Pulse {
    /// `is_watched`: there is a register that says who owns what.
    pub(crate) fn new(is_watched: bool) -> Self {
        Self {
            is_watched,
            start: Instant::now(),
            machine: Mutex::new(hexagram_core::Pulse::new(Duration::ZERO)),
            doubt: watch::Sender::new(None),
        }
    }

    /// Waits until what this worker knows may be acted on: no time at all, unless the
    /// process was stopped.
    pub(crate) async fn sound(&self) {
        while self.is_watched && self.look().is_some() {
            self.settled().await;
        }
    }

    /// Looks again and again, for as long as this worker lives.
    pub(crate) async fn beat(&self) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.look();
        }
    }

    /// Waits for a doubt. What it says is to be validated.
    pub(crate) async fn doubted(&self) -> Doubt {
        let mut doubt = self.doubt.subscribe();
        loop {
            if let Some(doubt) = *doubt.borrow_and_update() {
                return doubt;
            }
            // This holds the sender, so it never fails.
            let _ = doubt.changed().await;
        }
    }

    /// What was known at this doubt is validated.
    pub(crate) fn settle(&self, doubt: Doubt) {
        let mut machine = self.machine.lock();
        let left = machine.settle(doubt, self.start.elapsed());
        self.doubt.send_replace(left);
    }

    fn look(&self) -> Option<Doubt> {
        // The clock is read under the lock, so that readings come in their order.
        let mut machine = self.machine.lock();
        let doubt = machine.look(self.start.elapsed())?;
        self.doubt
            .send_if_modified(|known| known.replace(doubt) != Some(doubt));
        Some(doubt)
    }

    async fn settled(&self) {
        let mut doubt = self.doubt.subscribe();
        let _ = doubt.wait_for(Option::is_none).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn with_a_fixed_map_nothing_is_doubted() {
        let pulse = Pulse::new(false);
        advance(LONG).await;
        assert!(timeout(LONG, pulse.sound()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_doubted_until_it_is_settled() {
        let pulse = Pulse::new(true);
        advance(LONG).await;
        assert!(timeout(BEAT, pulse.sound()).await.is_err());
        let doubt = pulse.doubted().await;
        pulse.settle(doubt);
        assert!(timeout(BEAT, pulse.sound()).await.is_ok());
    }
}
