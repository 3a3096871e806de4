//! Moves by load: from the busiest workers to the idlest, while that is worth a move.

use super::layout::IDLE;
use super::{Budget, Layout, Memory, Motive, Move};
use crate::ShardId;

/// How far a worker may be from the mean before its shards move, as a share of it.
const BAND: f64 = 0.1;
/// How close to the mean they bring it then.
const GOAL: f64 = BAND / 2.0;
/// What may move in one round, as a share of all load.
const PER_ROUND: f64 = 0.09;
/// What a worker above and below the goal costs: too much work is worse than too
/// little.
const ABOVE: f64 = 16.0;
const BELOW: f64 = 4.0;
/// What a move must gain, for the share of a worker's mean load that it moves: the
/// first one more than those after it, so that noise alone begins nothing.
const CHURN_FIRST: f64 = 1.5;
const CHURN: f64 = 0.5;
/// What a move costs at least, as a share of a usual shard's: its clients wait for it
/// however light it is, and what has nothing to do is not worth one.
const LIGHTEST: f64 = 0.5;

/// The moves of one round. The first may be larger than a round's share: else a
/// cluster of few shards could move none.
pub(super) fn balance(layout: &mut Layout, budget: &mut Budget, memory: &mut Memory) -> Vec<Move> {
    let band = Goal::within(layout, BAND);
    memory.watch(band.missed(layout).map(|at| layout.name(at).clone()));
    let mut moves = Vec::new();
    if !memory.is_balancing() {
        return moves;
    }
    let goal = Goal::within(layout, GOAL);
    let mut left = PER_ROUND * layout.total();
    while goal.missed(layout).next().is_some() {
        let largest = if moves.is_empty() { f64::MAX } else { left };
        let least = if memory.has_moved() {
            CHURN
        } else {
            CHURN_FIRST
        };
        let may = |moved: &Move| {
            budget.allows(moved.from, moved.to)
                && !memory.rests(moved.shard)
                && layout.weight(moved.shard) <= largest
        };
        let Some(best) = goal.best(layout, budget, may, least) else {
            break;
        };
        left -= layout.weight(best.shard);
        budget.spend(best.from, best.to);
        layout.apply(best);
        memory.moved(best.shard);
        moves.push(best);
    }
    if moves.is_empty() {
        memory.settle();
    }
    moves
}

/// The levels between which every worker is to be.
struct Goal {
    mean: f64,
    lowest: f64,
    highest: f64,
}

impl Goal {
    fn within(layout: &Layout, band: f64) -> Self {
        let mean = layout.mean();
        Self {
            mean,
            lowest: mean * (1.0 - band),
            highest: (mean * (1.0 + band)).max(IDLE),
        }
    }

    /// The workers out of it. Nobody is while all have little to do.
    fn missed(&self, layout: &Layout) -> impl Iterator<Item = usize> {
        let is_out = |level: f64| level < self.lowest || level > self.highest;
        let open = layout.open().filter(|_| layout.is_busy());
        open.filter(move |at| is_out(layout.level(*at)))
    }

    /// The move that gains most for what it moves, if that is enough.
    fn best(
        &self,
        layout: &Layout,
        budget: &Budget,
        may: impl Fn(&Move) -> bool,
        least: f64,
    ) -> Option<Move> {
        let moves = candidates(layout, budget).filter(may);
        let rated = moves.map(|moved| (self.worth(layout, moved), moved));
        let worth = rated.filter(|(worth, _)| *worth >= least);
        let best = worth.min_by(|(a, one), (b, other)| {
            b.total_cmp(a).then_with(|| one.shard.cmp(&other.shard))
        });
        best.map(|(_, moved)| moved)
    }

    /// What a move gains, for what it moves.
    fn worth(&self, layout: &Layout, moved: Move) -> f64 {
        let (from, to) = (layout.level(moved.from), layout.level(moved.to));
        let after_from = from - layout.step(moved.shard, moved.from);
        let after_to = to + layout.step(moved.shard, moved.to);
        let before = self.penalty(from) + self.penalty(to);
        let after = self.penalty(after_from) + self.penalty(after_to);
        let workers = layout.open().count() as f64;
        let usual = layout.total() / layout.len() as f64;
        let cost = layout.weight(moved.shard).max(LIGHTEST * usual);
        (before - after) / (cost * workers / layout.total())
    }

    fn penalty(&self, level: f64) -> f64 {
        let above = (level - self.highest).max(0.0) / self.mean;
        let below = (self.lowest - level).max(0.0) / self.mean;
        ABOVE * above * above + BELOW * below * below
    }
}

/// The moves from the two busiest workers to the two idlest, of those that may take
/// part in one.
fn candidates(layout: &Layout, budget: &Budget) -> impl Iterator<Item = Move> {
    let mut order = layout.hottest();
    order.retain(|at| budget.is_free(*at));
    let busiest = order.iter().copied().take(2);
    let idlest: Vec<_> = order.iter().copied().rev().take(2).collect();
    let busiest: Vec<_> = busiest.filter(|at| layout.level(*at) >= IDLE).collect();
    let pairs = busiest.into_iter().flat_map(move |from| {
        let others = idlest.clone().into_iter();
        others
            .filter(move |to| *to != from)
            .map(move |to| (from, to))
    });
    pairs.flat_map(move |(from, to)| {
        let movable = layout.movable(from);
        let fits = movable.filter(move |shard| keeps_order(layout, *shard, from, to));
        fits.map(move |shard| Move {
            shard,
            from,
            to,
            why: Motive::Load,
        })
    })
}

/// Whether `to` ends with less to do than `from` had: the two do not change places.
fn keeps_order(layout: &Layout, shard: ShardId, from: usize, to: usize) -> bool {
    layout.level(to) + layout.step(shard, to) < layout.level(from)
}
