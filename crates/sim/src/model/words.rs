//! Who and what there is, by number and name.

use hexagram_core::Epoch;

/// A worker's number; a crash ends it for good.
pub type WorkerNo = u8;
/// An edge's number.
pub type EdgeId = u8;
/// The register's entry.
pub(super) type Entry = hexagram_core::Entry<WorkerNo>;

/// What a client does in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// Something to be kept, such as a subscription.
    Record = 1,
    /// The end of the session.
    Delete = 2,
    /// A call that records nothing.
    Use = 4,
}

/// A set of operations: the shard's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ops(u8);

impl Ops {
    /// Whether `op` is in it.
    #[must_use]
    pub const fn contains(self, op: Op) -> bool {
        self.0 & op as u8 != 0
    }

    /// With `op`.
    #[must_use]
    pub const fn with(self, op: Op) -> Self {
        Self(self.0 | op as u8)
    }

    /// With all of `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Exchanges that still run at the worker that granted the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Remote {
    pub(super) at: WorkerNo,
    pub(super) granted: Epoch,
    pub(super) ops: Ops,
}
