//! The session store: every write names its epoch, and an older one is refused
//! (DESIGN 8).

use hexagram_core::Epoch;

use super::words::{Op, Ops, Remote};

/// The shard's keys in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Store {
    claim: Option<Epoch>,
    ops: Ops,
    // Exchanges that run on at an old owner: a session's end must reach them.
    tails: Option<Remote>,
    // For invariant I3: what was written a second time.
    pub(super) repeated: bool,
}

impl Store {
    /// Claims an epoch and reads what is there; `None` when a later one has.
    pub(super) fn claim(&mut self, epoch: Epoch) -> Option<(Ops, Option<Remote>)> {
        if self.claim > Some(epoch) {
            return None;
        }
        self.claim = Some(epoch);
        Some((self.ops, self.tails))
    }

    /// Keeps what a grant says of exchanges that run on; the claim's script does.
    pub(super) fn keep_tails(&mut self, tails: Option<Remote>) {
        self.tails = tails;
    }

    /// What is there, without a claim.
    pub(super) fn peek(&self) -> Ops {
        self.ops
    }

    /// Writes a change; `false` when the epoch is over.
    pub(super) fn write(&mut self, epoch: Epoch, op: Op, accept_stale: bool) -> bool {
        if self.claim > Some(epoch) && !accept_stale {
            return false;
        }
        self.repeated |= self.ops.contains(op);
        self.ops = self.ops.with(op);
        true
    }
}
