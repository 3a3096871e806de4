//! What clients and the upstream write down, as a history has it.

use std::sync::Arc;
use std::time::Duration;

use hexagram_sim::history::{Exchange, Outcome, Run, served};
use parking_lot::Mutex;
use tokio::time::Instant;

/// All of it; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Talk {
    /// When everything began.
    start: Instant,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Talk {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            exchanges: Arc::default(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.at(Instant::now())
    }

    pub(crate) fn at(&self, when: Instant) -> Duration {
        when.saturating_duration_since(self.start)
    }

    /// A message that has ended.
    pub(crate) fn tell(&self, exchange: Exchange) {
        self.exchanges.lock().push(exchange);
    }

    /// How many of the first `clients` sent something after `event` that was answered.
    pub(crate) fn served_since(&self, event: Duration, clients: usize) -> usize {
        let exchanges = self.exchanges.lock();
        let is_served = |client: &usize| served(&exchanges, *client, event).is_some();
        (0..clients).filter(is_served).count()
    }

    /// All exchanges, in the order in which they were sent.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        let mut all = self.exchanges.lock().clone();
        all.sort_by_key(|exchange| exchange.sent);
        all
    }

    /// A run of the upstream, as the history has it.
    pub(crate) fn run(&self, id: u64, at: Instant) -> Run {
        Run {
            id: id.to_string(),
            at: self.at(at),
            by: String::new(),
        }
    }
}

/// Whether it was not answered as it should be. A session that was ended is gone; the
/// client asks once more.
pub(crate) fn is_failure(exchange: &Exchange) -> bool {
    !matches!(exchange.outcome, Outcome::Answered(_) | Outcome::Gone)
}
