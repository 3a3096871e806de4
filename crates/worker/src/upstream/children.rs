//! How many stdio children may run.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::UpstreamError;

/// How many stdio children may run in this process.
#[derive(Debug, Clone)]
pub struct ChildLimit {
    permits: Arc<Semaphore>,
    limit: usize,
}

impl ChildLimit {
    /// At most `limit` children.
    pub fn new(limit: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Waits until all children have ended, at most `grace`; tells whether they did.
    pub async fn ended(&self, grace: Duration) -> bool {
        let all = u32::try_from(self.limit).unwrap_or(u32::MAX);
        tokio::time::timeout(grace, self.permits.acquire_many(all))
            .await
            .is_ok()
    }

    pub(super) fn acquire(&self) -> Result<OwnedSemaphorePermit, UpstreamError> {
        Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| UpstreamError::TooManyChildren(self.limit))
    }
}
