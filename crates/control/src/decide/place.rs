//! Who is given a shard: counts and rendezvous order. Weighing shards by load
//! belongs here, too.

use std::collections::BTreeMap;

use hexagram_core::{Entry, Owner, ShardId, WorkerId, preference};

use super::{Draft, View, Why};

/// How many shards each of `targets` has, or is about to have.
pub(super) fn counts<'a>(
    entries: impl Iterator<Item = &'a Entry<Owner>>,
    targets: &[Owner],
) -> BTreeMap<Owner, usize> {
    let mut counts: BTreeMap<_, _> = targets.iter().map(|owner| (owner.clone(), 0)).collect();
    for entry in entries {
        let next = entry.plan().map_or(entry.owner(), |plan| &plan.to);
        if let Some(count) = counts.get_mut(next) {
            *count += 1;
        }
    }
    counts
}

/// `targets` in the order in which `shard` prefers them.
pub(super) fn ranked(shard: ShardId, targets: &[Owner]) -> Vec<&Owner> {
    let names: Vec<WorkerId> = targets.iter().map(|owner| owner.worker.clone()).collect();
    // Of each name one life at most is alive.
    let places = preference(shard, &names).unwrap_or_default();
    places.into_iter().map(|place| &targets[place]).collect()
}

/// Gives each of `orphans` to a survivor: to the next life of its worker, else
/// to the first in rendezvous order that has room.
pub(super) fn adopt(view: &View<'_>, draft: &mut Draft, orphans: &[ShardId]) {
    let targets = view.targets();
    if targets.is_empty() {
        return;
    }
    let room = draft.entries.len().div_ceil(targets.len());
    let mut counts = counts(draft.entries.values(), &targets);
    for shard in orphans {
        let Some(entry) = draft.entries.get(shard).cloned() else {
            continue;
        };
        let Some(to) = guardian(*shard, entry.owner(), &targets, &counts, room) else {
            continue;
        };
        *counts.entry(to.clone()).or_default() += 1;
        let seen = view.fleet.spent(*shard);
        let entry = seen.map_or(entry.clone(), |seen| entry.above(seen));
        draft.try_set(*shard, entry.fail_over(to), Why::FailedOver);
    }
}

fn guardian(
    shard: ShardId,
    last: &Owner,
    targets: &[Owner],
    counts: &BTreeMap<Owner, usize>,
    room: usize,
) -> Option<Owner> {
    let next_life = targets.iter().find(|owner| owner.worker == last.worker);
    let free = |owner: &&Owner| counts.get(owner).is_some_and(|count| *count < room);
    let by_rank = || ranked(shard, targets).into_iter().find(free);
    next_life
        .or_else(by_rank)
        .or_else(|| least(shard, targets, counts))
        .cloned()
}

/// The target with the fewest shards; among equals the one that `shard` prefers.
pub(super) fn least<'a>(
    shard: ShardId,
    targets: &'a [Owner],
    counts: &BTreeMap<Owner, usize>,
) -> Option<&'a Owner> {
    let count = |owner: &&Owner| counts.get(owner).copied().unwrap_or_default();
    ranked(shard, targets).into_iter().min_by_key(count)
}
