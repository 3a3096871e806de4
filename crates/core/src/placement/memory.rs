//! What placement remembers from one decision to the next.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ShardId, WorkerId};

/// Ticks for which a worker must have been out of the band before anything moves.
const PATIENCE: u32 = 3;
/// Ticks for which a shard rests after a move by load: five minutes.
const COOLDOWN: u32 = 30;

/// What placement remembers. A lost one costs nothing but time: new workers are
/// found again, and the band is watched anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// For how many ticks in a row each worker has been out of the band.
    outside: BTreeMap<WorkerId, u32>,
    /// Whether the levels are being brought to half the band.
    is_balancing: bool,
    /// Whether a shard has moved for that.
    has_moved: bool,
    /// A tick that was not used yet.
    is_due: bool,
    /// Ticks for which a shard is still to rest.
    resting: BTreeMap<ShardId, u32>,
    /// New workers that have not reached their share.
    filling: BTreeSet<WorkerId>,
}

impl Memory {
    /// Ten seconds have passed.
    #[must_use]
    pub fn tick(mut self) -> Self {
        self.is_due = true;
        self.resting.retain(|_, ticks| {
            *ticks -= 1;
            *ticks > 0
        });
        self
    }

    /// Somebody moved `shard` on purpose: it is left there for a while.
    pub fn rest(&mut self, shard: ShardId) {
        self.resting.insert(shard, COOLDOWN);
    }

    /// `shard` was moved by load.
    pub(super) fn moved(&mut self, shard: ShardId) {
        self.has_moved = true;
        self.rest(shard);
    }

    /// Whether `shard` was moved by load, or on purpose, a short time ago.
    pub(super) fn rests(&self, shard: ShardId) -> bool {
        self.resting.contains_key(&shard)
    }

    /// Uses the tick, if there is one.
    pub(super) fn take_tick(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    /// Workers come or go: the band is watched anew afterwards.
    pub(super) fn settle(&mut self) {
        self.outside.clear();
        self.is_balancing = false;
        self.has_moved = false;
        self.is_due = false;
    }

    /// These workers are out of the band now.
    pub(super) fn watch(&mut self, outside: impl Iterator<Item = WorkerId>) {
        let ticks = |worker: &WorkerId| self.outside.get(worker).copied().unwrap_or_default();
        self.outside = outside
            .map(|worker| (worker.clone(), ticks(&worker) + 1))
            .collect();
        self.is_balancing |= self.outside.values().any(|ticks| *ticks >= PATIENCE);
    }

    pub(super) const fn is_balancing(&self) -> bool {
        self.is_balancing
    }

    pub(super) const fn has_moved(&self) -> bool {
        self.has_moved
    }

    pub(super) fn is_filling(&self) -> bool {
        !self.filling.is_empty()
    }

    pub(super) fn fills(&self, worker: &WorkerId) -> bool {
        self.filling.contains(worker)
    }

    /// From now on these workers are being filled.
    pub(super) fn fill(&mut self, workers: BTreeSet<WorkerId>) {
        self.filling = workers;
    }
}
