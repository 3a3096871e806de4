//! What a worker that was stopped for a while still owns (DESIGN 8): the register says it,
//! or else the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::follow::hear;
use super::handoffs::Handoffs;

/// The register has answered by then, and so has the store; or they are not asked again:
/// nothing that serves stops because nobody answers (invariant I9).
const ASK: Duration = Duration::from_secs(1);

/// Who has said what is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Register,
    Store,
    Nobody,
}

/// Watches over this worker's pulse, for as long as it lives: whatever it was doubted for
/// is validated.
pub(crate) async fn watch(handoffs: Arc<Handoffs>) {
    tokio::join!(handoffs.host.pulse.beat(), handoffs.settle_doubts());
}

impl Handoffs {
    async fn settle_doubts(self: &Arc<Self>) {
        let pulse = &self.host.pulse;
        loop {
            let doubt = pulse.doubted().await;
            let said = self.validate().await;
            tracing::warn!(
                by = ?said,
                "this process did not run for over a second: what it owns was asked for"
            );
            pulse.settle(doubt);
        }
    }

    /// Asks anew what is owned here, and gives up what is not.
    async fn validate(self: &Arc<Self>) -> Said {
        // The map that is followed may be of before, and so may the news that wait.
        if let Ok(Some(map)) = timeout(ASK, (self.membership.read)()).await {
            hear(self, &map);
            return Said::Register;
        }
        match timeout(ASK, self.ask_store()).await {
            Ok(true) => Said::Store,
            _ => Said::Nobody,
        }
    }

    /// Whether the store said which shards later owners have claimed.
    async fn ask_store(&self) -> bool {
        let Some(storage) = &self.storage else {
            return false;
        };
        match storage.writer.overtaken().await {
            Ok(overtaken) => {
                for (shard, by) in overtaken {
                    self.fenced(shard, by);
                }
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the store does not say what is owned");
                false
            }
        }
    }
}
