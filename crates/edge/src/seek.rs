//! Looks for the owner of a shard that has none at the moment.

use std::sync::Arc;
use std::time::Duration;

use hexagram_core::Epoch;
use hexagram_mcp::error::Problem;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::parking::Parked;
use crate::routing::Routed;
use crate::switchboard::{Attached, Obstacle, Switchboard};

/// Between two questions whether an owner has read the map that names it.
const BEHIND: Duration = Duration::from_millis(25);

/// A message or a stream that waits for an owner.
pub(crate) struct Seek {
    pub(crate) board: Arc<Switchboard>,
    pub(crate) routed: Routed,
    /// Only an owner in a higher epoch will do.
    pub(crate) after: Option<Epoch>,
    /// The owner does not know yet that it is one: it is asked again a little later.
    pub(crate) behind: bool,
    /// When it first had to wait.
    pub(crate) since: Instant,
    /// How long it waits from then, unless the obstacle deserves more.
    pub(crate) patience: Duration,
    /// Its place among the parked, given back at the end.
    #[expect(dead_code, reason = "held, never read")]
    pub(crate) parked: Option<Parked>,
}

/// Why a search ended without an owner.
#[derive(Debug)]
pub(crate) enum GaveUp {
    /// This edge ends.
    Closing,
    /// Nobody came in time.
    Late(Problem),
}

impl Seek {
    /// Waits until the message is sent.
    pub(crate) async fn run(self) -> Result<Attached, GaveUp> {
        let begun = Instant::now();
        let found = tokio::select! {
            () = self.board.closing.cancelled() => Err(GaveUp::Closing),
            found = self.find() => found,
        };
        self.board.metrics.waited(begun.elapsed(), found.is_ok());
        found
    }

    async fn find(&self) -> Result<Attached, GaveUp> {
        let mut changes = self.board.changes();
        if self.behind {
            sleep(BEHIND).await;
        }
        loop {
            changes.mark_unchanged();
            let obstacle = match self.board.attach(&self.routed, self.after) {
                Ok(attached) => return Ok(attached),
                Err(obstacle) => obstacle,
            };
            self.wait(&mut changes, obstacle).await?;
        }
    }

    /// Waits for the next change, as long as there is time.
    async fn wait(
        &self,
        changes: &mut watch::Receiver<()>,
        obstacle: Obstacle,
    ) -> Result<(), GaveUp> {
        if obstacle.is_final {
            return Err(GaveUp::Late(obstacle.problem));
        }
        let until = self.since + obstacle.wait.max(self.patience);
        // The board holds the sender, so only time can end the wait.
        let changed = timeout_at(until, changes.changed()).await;
        match changed {
            Ok(_) if Instant::now() < until => Ok(()),
            _ => Err(GaveUp::Late(obstacle.problem)),
        }
    }
}
