//! Where a shard went.

use hexagram_core::{Epoch, WorkerId};

/// Who serves a shard that is not served here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Successor {
    pub(crate) worker: WorkerId,
    pub(crate) epoch: Epoch,
}
