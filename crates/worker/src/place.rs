//! Where a shard is while it is served here, and where it went.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::shard::Shard;
use crate::successor::Successor;

/// One shard's place on this worker.
#[derive(Default)]
pub(crate) struct Place {
    shard: ArcSwapOption<Shard>,
    successor: Mutex<Option<Successor>>,
}

impl Place {
    pub(crate) fn shard(&self) -> Option<Arc<Shard>> {
        self.shard.load_full()
    }

    /// The shard is served here.
    pub(crate) fn serve(&self, shard: Arc<Shard>) {
        *self.successor.lock() = None;
        self.shard.store(Some(shard));
    }

    /// The shard is served elsewhere, by whom may not be known; gives what was served
    /// here.
    pub(crate) fn give(&self, successor: Option<Successor>) -> Option<Arc<Shard>> {
        *self.successor.lock() = successor;
        self.shard.swap(None)
    }

    /// Who serves the shard, where that is known.
    pub(crate) fn successor(&self) -> Option<Successor> {
        self.successor.lock().clone()
    }
}
