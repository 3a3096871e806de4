//! Shards whose own code fails, and those that cost their owners' lives: restarted
//! alone, tried alone, and in the end nobody's to serve.

use std::collections::BTreeMap;

use hexagram_core::{Entry, Owner, ShardId};

use super::moves::is_served;
use super::suspicion::{Lost, Suspicions};
use super::{Draft, View, Why};
use crate::fleet::Life;

/// Takes out of `orphans` what is to be nobody's, and adds what may be served again.
pub(super) fn isolate(
    view: &View<'_>,
    draft: &mut Draft,
    orphans: &mut Vec<ShardId>,
    suspicions: &mut Suspicions,
) {
    for culprit in culprits(view, orphans, suspicions) {
        orphans.retain(|orphan| *orphan != culprit);
        quarantine(view, draft, culprit);
    }
    for (shard, entry) in view.map.entries() {
        if entry.is_quarantined() {
            if suspicions.is_released(shard, view.now) {
                orphans.push(shard);
            }
            continue;
        }
        suspicions.lifted(shard, view.now);
        if is_served(view, shard, entry) {
            suspicions.served(shard, view.now);
        }
        if has_failed(view, shard, entry) {
            match suspicions.failed(shard, view.now) {
                true => draft.try_set(
                    shard,
                    view.raised(shard, entry).fail_over(entry.owner().clone()),
                    Why::Restarted,
                ),
                false => quarantine(view, draft, shard),
            }
        }
    }
}

/// The shards that dead workers died of. Of what a worker never took it did not die:
/// where many die at once, shards are given to the dead. Who was told to end died of
/// nothing that it had.
fn culprits(view: &View<'_>, orphans: &[ShardId], suspicions: &mut Suspicions) -> Vec<ShardId> {
    let mut owned: BTreeMap<&Owner, Vec<Lost>> = BTreeMap::new();
    for shard in orphans {
        let entry = view.map.entry(*shard);
        let (owner, epoch) = (entry.owner(), entry.epoch());
        if view.fleet.took(owner, *shard, epoch) && !view.fleet.ended(owner) {
            owned.entry(owner).or_default().push((*shard, epoch));
        }
    }
    let died = owned
        .values()
        .filter_map(|owned| suspicions.died(owned, view.now));
    died.collect()
}

fn quarantine(view: &View<'_>, draft: &mut Draft, shard: ShardId) {
    let entry = view.raised(shard, view.map.entry(shard));
    draft.try_set(shard, entry.quarantine(), Why::Quarantined);
}

/// Whether the owner says that the shard's own code failed. One that moves is left to
/// its move: only the giver knows whether the taker has it.
fn has_failed(view: &View<'_>, shard: ShardId, entry: &Entry<Owner>) -> bool {
    let held = view.fleet.held(entry.owner(), shard);
    let is_failed = held.is_some_and(|held| held.failed == Some(entry.epoch()));
    is_failed && entry.plan().is_none() && view.fleet.life(entry.owner()) == Life::Alive
}
