//! Doubt about what an upstream is: it answered as another server would.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Doubts are followed no more often: any client can provoke an answer that
/// raises one, and asking anew makes the others wait.
const PAUSE: Duration = Duration::from_secs(5);

/// Whether an upstream is to be asked anew what it is.
#[derive(Debug, Default)]
pub(super) struct Doubt(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    raised: bool,
    last: Option<Instant>,
}

impl Doubt {
    /// Raises it, unless one was followed a moment ago.
    pub(super) fn raise(&self) {
        let mut state = self.0.lock();
        let recent = state.last.is_some_and(|last| last.elapsed() < PAUSE);
        if !recent {
            state.raised = true;
        }
    }

    pub(super) fn is_raised(&self) -> bool {
        self.0.lock().raised
    }

    /// The upstream was asked.
    pub(super) fn settle(&self) {
        let mut state = self.0.lock();
        if std::mem::take(&mut state.raised) {
            state.last = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn doubts_are_followed_at_intervals() {
        let doubt = Doubt::default();
        doubt.settle();
        doubt.raise();
        assert!(doubt.is_raised());
        doubt.settle();
        doubt.raise();
        assert!(!doubt.is_raised(), "it was just asked");
        tokio::time::advance(PAUSE).await;
        doubt.raise();
        assert!(doubt.is_raised());
    }
}
