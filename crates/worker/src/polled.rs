//! For how long the workers of one process polled their shards' tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All of them, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process(Arc<AtomicU64>);

impl Process {
    /// One of its workers has polled for so long.
    pub(crate) fn add(&self, nanos: u64) {
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }

    /// For how long all have.
    pub(crate) fn polled(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
