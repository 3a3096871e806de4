//! Moves away from workers that are to be empty.

use super::{Budget, Layout, Motive, Move};
use crate::ShardId;

/// The moves that may begin now, each to the worker with the lowest level.
pub(super) fn drain(layout: &mut Layout, budget: &mut Budget) -> Vec<Move> {
    let mut moves = Vec::new();
    for shard in layout.leaving() {
        let Some(next) = refuge(layout, budget, shard) else {
            continue;
        };
        budget.spend(next.from, next.to);
        layout.apply(next);
        moves.push(next);
    }
    moves
}

/// Where `shard` goes: among equals to the worker that it prefers.
fn refuge(layout: &Layout, budget: &Budget, shard: ShardId) -> Option<Move> {
    let from = layout.at(shard)?;
    let order = layout.preference(shard).into_iter();
    let free = order.filter(|to| budget.allows(from, *to));
    let after = |to: &usize| layout.level(*to) + layout.step(shard, *to);
    let to = free.min_by(|a, b| after(a).total_cmp(&after(b)))?;
    Some(Move {
        shard,
        from,
        to,
        why: Motive::Drain,
    })
}
