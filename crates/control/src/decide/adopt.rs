//! Shards whose owner is lost.

use std::collections::BTreeSet;

use hexagram_core::placement::{Hosted, Layout, adopter};
use hexagram_core::{Owner, ShardId};

use super::moves::Roll;
use super::suspicion::Suspicions;
use super::{Draft, View, Why};

/// Gives each of `orphans` to a survivor: to the next life of its worker, else
/// to the first in rendezvous order that has room. A suspect goes to a worker that
/// has none on trial, or waits.
pub(super) fn adopt(
    view: &View<'_>,
    draft: &mut Draft,
    orphans: &[ShardId],
    suspicions: &mut Suspicions,
) {
    let roll = Roll::of(view, draft);
    let mut layout = roll.layout(view, draft, orphans);
    let mut trials = trials(view, draft, suspicions);
    let mut orphans = orphans.to_vec();
    orphans.sort_by_key(|shard| !suspicions.is_accused(*shard));
    for shard in &orphans {
        let is_suspect = suspicions.is_suspect(*shard);
        let may_take = |owner: &Owner| !is_suspect || !trials.contains(owner);
        let Some(at) = guardian(view, &roll, &layout, *shard, may_take) else {
            continue;
        };
        let hosted = Hosted {
            at,
            load: 0,
            can_move: false,
        };
        layout.put(*shard, hosted);
        suspicions.given(*shard, view.now);
        if is_suspect {
            trials.insert(roll.owner(at));
        }
        let entry = view.raised(*shard, view.map.entry(*shard));
        draft.try_set(*shard, entry.fail_over(roll.owner(at)), Why::FailedOver);
    }
}

/// The workers that have a suspect on trial.
fn trials(view: &View<'_>, draft: &Draft, suspicions: &Suspicions) -> BTreeSet<Owner> {
    let entries = draft.entries.iter();
    let tried = entries.filter(|(shard, _)| suspicions.is_tried(**shard, view.now));
    tried.map(|(_, entry)| entry.owner().clone()).collect()
}

fn guardian(
    view: &View<'_>,
    roll: &Roll,
    layout: &Layout,
    shard: ShardId,
    may_take: impl Fn(&Owner) -> bool,
) -> Option<usize> {
    let last = view.map.entry(shard).owner();
    let next_life = roll.target(|owner| owner.worker == last.worker && may_take(owner));
    let other = || {
        adopter(layout, shard, view.map.count(), |at| {
            may_take(&roll.owner(at))
        })
    };
    next_life.or_else(other)
}
