//! An upstream's life in a process whose configuration changes: which one it
//! is, who uses it, and whether it is still served.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Upstream;

/// Tells an upstream from all others of this process, also from one that has
/// its name later. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamId(u64);

impl UpstreamId {
    /// An id that no upstream has yet.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// From an upstream's first use to its last.
#[derive(Debug)]
pub(super) struct Life {
    id: UpstreamId,
    calls: TaskTracker,
    retired: CancellationToken,
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            id: UpstreamId::next(),
            calls: TaskTracker::new(),
            retired: CancellationToken::new(),
        }
    }
}

impl Upstream {
    pub(crate) fn id(&self) -> UpstreamId {
        self.life.id
    }

    /// Marks a request under way, until what this gives is dropped.
    pub(crate) fn in_use(&self) -> TaskTrackerToken {
        self.life.calls.token()
    }

    /// Waits until no request is under way, once it is retired.
    pub(crate) async fn unused(&self) {
        self.life.calls.wait().await;
    }

    /// It is served no more: no session is opened with it.
    pub(crate) fn retire(&self) {
        self.life.retired.cancel();
        self.life.calls.close();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.life.retired.is_cancelled()
    }

    /// Waits until it is retired.
    pub(crate) async fn retired(&self) {
        self.life.retired.cancelled().await;
    }
}
