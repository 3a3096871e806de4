//! Shards whose owner is lost.

use hexagram_core::placement::{Hosted, adopter};
use hexagram_core::{Owner, ShardId};

use super::moves::Roll;
use super::{Draft, View, Why};

/// Gives each of `orphans` to a survivor: to the next life of its worker, else
/// to the first in rendezvous order that has room.
pub(super) fn adopt(view: &View<'_>, draft: &mut Draft, orphans: &[ShardId]) {
    let roll = Roll::of(view, draft);
    let mut layout = roll.layout(view, draft, orphans);
    for shard in orphans {
        let Some(entry) = draft.entries.get(shard).cloned() else {
            continue;
        };
        let next_life = |owner: &Owner| owner.worker == entry.owner().worker;
        let to = roll.target(next_life);
        let Some(at) = to.or_else(|| adopter(&layout, *shard, view.map.count())) else {
            continue;
        };
        let hosted = Hosted {
            at,
            load: 0,
            can_move: false,
        };
        layout.put(*shard, hosted);
        let seen = view.fleet.spent(*shard);
        let entry = seen.map_or(entry.clone(), |seen| entry.above(seen));
        draft.try_set(*shard, entry.fail_over(roll.owner(at)), Why::FailedOver);
    }
}
