//! Planned moves: `hexagram_core::placement` chooses them, here the register and the
//! workers' reports are put into its words.

use std::collections::BTreeSet;

use hexagram_core::placement::{Budget, Candidate, Hosted, Layout, Memory, Motive, place};
use hexagram_core::{Entry, Owner, ShardId};
use hexagram_proto::admin::Phase;

use super::{Draft, View, Why};

/// The workers in the order of a layout's list: all that own a shard or may be given
/// one.
pub(super) struct Roll {
    owners: Vec<Owner>,
    targets: BTreeSet<Owner>,
    is_rolling: bool,
}

impl Roll {
    pub(super) fn of(view: &View<'_>, draft: &Draft) -> Self {
        let targets: BTreeSet<_> = view.targets().into_iter().collect();
        let entries = draft.entries.values();
        let named = entries.flat_map(|entry| {
            let next = entry.plan().map(|plan| &plan.to);
            [Some(entry.owner()), next].into_iter().flatten()
        });
        let owners: BTreeSet<_> = named.chain(&targets).cloned().collect();
        Self {
            owners: owners.into_iter().collect(),
            targets,
            is_rolling: view.is_rolling(),
        }
    }

    fn at(&self, owner: &Owner) -> Option<usize> {
        self.owners.binary_search(owner).ok()
    }

    pub(super) fn owner(&self, at: usize) -> Owner {
        self.owners[at].clone()
    }

    /// Where somebody is that may be given shards.
    pub(super) fn target(&self, which: impl Fn(&Owner) -> bool) -> Option<usize> {
        let found = self.targets.iter().find(|owner| which(owner));
        self.at(found?)
    }

    /// Who has what, but for the shards that nobody has.
    pub(super) fn layout(&self, view: &View<'_>, draft: &Draft, lost: &[ShardId]) -> Layout {
        let candidates = self.owners.iter().map(|owner| Candidate {
            worker: owner.worker.clone(),
            capacity: view.fleet.capacity(owner),
            is_open: self.targets.contains(owner),
        });
        let entries = draft.entries.iter();
        let owned =
            entries.filter(|(shard, entry)| !lost.contains(shard) && !entry.is_quarantined());
        let hosted = |(shard, entry): (&ShardId, &Entry<Owner>)| {
            let next = entry.plan().map_or(entry.owner(), |plan| &plan.to);
            let held = view.fleet.held(entry.owner(), *shard);
            let hosted = Hosted {
                at: self.at(next)?,
                load: held.map_or(0, |held| held.load),
                can_move: entry.plan().is_none() && self.may_leave(view, *shard, entry),
            };
            Some((*shard, hosted))
        };
        Layout::new(candidates.collect(), owned.filter_map(hosted))
    }

    /// Whether the owner can give the shard away. One on trial stays to its end.
    fn may_leave(&self, view: &View<'_>, shard: ShardId, entry: &Entry<Owner>) -> bool {
        let rests = self.is_rolling && !view.is_draining(entry.owner());
        is_served(view, shard, entry) && !rests && !view.suspicions.is_tried(shard, view.now)
    }

    fn budget(&self, draft: &Draft) -> Budget {
        let under_way = draft.entries.values().filter_map(|entry| {
            let plan = entry.plan()?;
            Some((self.at(entry.owner())?, self.at(&plan.to)?))
        });
        Budget::beside(under_way)
    }
}

/// Begins the moves that placement wants; gives what it remembers.
pub(super) fn plan(view: &View<'_>, draft: &mut Draft) -> Memory {
    let roll = Roll::of(view, draft);
    let layout = roll.layout(view, draft, &[]);
    let (moves, memory) = place(layout, roll.budget(draft), view.memory.clone());
    for next in moves {
        let Some(entry) = draft.entries.get(&next.shard) else {
            continue;
        };
        let moved = entry.move_to(roll.owner(next.to));
        draft.try_set(next.shard, moved, reason(next.why));
    }
    memory
}

const fn reason(motive: Motive) -> Why {
    match motive {
        Motive::Drain => Why::Drained,
        Motive::Fill => Why::Filled,
        Motive::Load => Why::Balanced,
    }
}

/// Whether the owner serves the shard in the epoch that the register knows.
pub(super) fn is_served(view: &View<'_>, shard: ShardId, entry: &Entry<Owner>) -> bool {
    let held = view.fleet.held(entry.owner(), shard);
    held.is_some_and(|held| held.phase == Phase::Serving && held.epoch == Some(entry.epoch()))
}
