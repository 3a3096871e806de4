//! Moves to new workers, up to their share and no further.

use std::collections::BTreeSet;

use super::{Budget, Layout, Memory, Motive, Move};
use crate::ShardId;

/// The moves that may begin now.
pub(super) fn fill(layout: &mut Layout, budget: &mut Budget, memory: &mut Memory) -> Vec<Move> {
    let mut filling: Vec<_> = layout
        .open()
        .filter(|at| memory.fills(layout.name(*at)) || is_new(layout, *at))
        .collect();
    let mut moves = Vec::new();
    let mut waiting = BTreeSet::new();
    while let Some(to) = lowest(layout, &filling) {
        let Some(next) = next(layout, budget, memory, to) else {
            filling.retain(|other| *other != to);
            if wants(layout, memory, to) {
                waiting.insert(layout.name(to).clone());
            }
            continue;
        };
        budget.spend(next.from, next.to);
        layout.apply(next);
        moves.push(next);
    }
    memory.fill(waiting);
    moves
}

/// Whether a worker has less than half of its share of shards and of their weight,
/// or none where another has two.
fn is_new(layout: &Layout, at: usize) -> bool {
    let share = layout.len() / layout.open().count();
    let has_little = layout.count(at) * 2 < share && layout.level(at) * 2.0 < layout.mean();
    has_little || (layout.count(at) == 0 && givers(layout).next().is_some())
}

/// Workers that can spare a shard, the one with the highest level first.
fn givers(layout: &Layout) -> impl Iterator<Item = usize> {
    let hottest = layout.hottest().into_iter();
    hottest.filter(|at| layout.count(*at) > 1)
}

fn lowest(layout: &Layout, filling: &[usize]) -> Option<usize> {
    let level = |at: &&usize| layout.level(**at);
    let lowest = filling.iter().min_by(|a, b| level(a).total_cmp(&level(b)));
    lowest.copied()
}

/// The next shard for `to`, from the worker with the highest level that may give it
/// one now.
fn next(layout: &Layout, budget: &Budget, memory: &Memory, to: usize) -> Option<Move> {
    let free = givers(layout).filter(|from| budget.allows(*from, to));
    let chosen = |from| Some((from, best(layout, memory, from, to)?));
    let (from, shard) = { free }.find_map(chosen)?;
    Some(Move {
        shard,
        from,
        to,
        why: Motive::Fill,
    })
}

/// The shard of `from` that brings `to` closest to the mean with as many shards as
/// that takes on average; among equals the one that prefers `to` most.
fn best(layout: &Layout, memory: &Memory, from: usize, to: usize) -> Option<ShardId> {
    let missing = layout.mean() - layout.level(to);
    let pieces = (missing / layout.usual_step(to)).round().max(1.0);
    let off = |shard: &ShardId| (layout.step(*shard, to) - missing / pieces).abs();
    let rank = |shard: &ShardId| layout.rank(*shard, to);
    let own = layout.movable(from);
    own.filter(|shard| fits(layout, memory, *shard, from, to))
        .min_by(|a, b| {
            off(a)
                .total_cmp(&off(b))
                .then_with(|| rank(a).cmp(&rank(b)))
        })
}

/// Whether anybody has a shard that `to` is to get later.
fn wants(layout: &Layout, memory: &Memory, to: usize) -> bool {
    let has = |from| {
        let mut own = layout.shards(from);
        own.any(|shard| fits(layout, memory, shard, from, to))
    };
    givers(layout).any(has)
}

/// Whether a shard brings `to` closer to the mean, and no higher than `from`. A
/// worker without any takes what it can get.
fn fits(layout: &Layout, memory: &Memory, shard: ShardId, from: usize, to: usize) -> bool {
    if layout.count(to) == 0 {
        return true;
    }
    let (step, missing) = (layout.step(shard, to), layout.mean() - layout.level(to));
    let left = layout.level(from) - layout.step(shard, from);
    !memory.rests(shard) && step < 2.0 * missing && layout.level(to) + step <= left
}
