//! Planned moves: of a draining worker, of one with too many shards, and those
//! that somebody orders.

use std::collections::BTreeMap;

use hexagram_core::{Entry, EntryError, Owner, ShardId, WorkerId};
use hexagram_proto::admin::Phase;

use super::place::{counts, least, ranked};
use super::{Change, Draft, View, Why};
use crate::fleet::Life;

/// Moves of one worker under way, as giver and as taker.
const PER_WORKER: usize = 2;
/// Moves of the cluster under way.
const PER_CLUSTER: usize = 8;

/// An order that is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The controller has not written a map yet.
    #[error("there is no shard map yet: no worker has joined")]
    NoMap,
    /// Out of range.
    #[error("there is no shard {shard}: the cluster has {count}, from 0 to {}", count - 1)]
    UnknownShard {
        /// As given.
        shard: u16,
        /// How many there are.
        count: u16,
    },
    /// Nobody of that name.
    #[error("no worker is called {name}; there are: {known}")]
    UnknownWorker {
        /// As given.
        name: WorkerId,
        /// The names of the living.
        known: String,
    },
    /// It does not answer.
    #[error("worker {0} does not answer: it is dead or about to be declared so")]
    Gone(WorkerId),
    /// It is to be empty.
    #[error("worker {0} is draining: choose another")]
    Draining(WorkerId),
    /// The owner cannot give it.
    #[error("the owner {0} does not serve the shard now: try again in a moment")]
    NotServed(WorkerId),
    /// Nobody would be left.
    #[error("no other worker could take the shards of {0}: start one first")]
    Last(WorkerId),
    /// The register's rules.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// Moves under way.
struct Budget {
    workers: BTreeMap<Owner, usize>,
    cluster: usize,
}

impl Budget {
    fn of(draft: &Draft) -> Self {
        let mut this = Self {
            workers: BTreeMap::new(),
            cluster: 0,
        };
        for entry in draft.entries.values() {
            if let Some(plan) = entry.plan() {
                this.spend(entry.owner(), &plan.to);
            }
        }
        this
    }

    fn spend(&mut self, from: &Owner, to: &Owner) {
        self.cluster += 1;
        for worker in [from, to] {
            *self.workers.entry(worker.clone()).or_default() += 1;
        }
    }

    fn allows(&self, worker: &Owner) -> bool {
        let moves = self.workers.get(worker).copied().unwrap_or_default();
        moves < PER_WORKER && self.cluster < PER_CLUSTER
    }
}

/// Moves shards away from the workers that are to be empty.
pub(super) fn drain(view: &View<'_>, draft: &mut Draft) {
    let targets = view.targets();
    let mut counts = counts(draft.entries.values(), &targets);
    let mut budget = Budget::of(draft);
    for (shard, entry) in movable(view, draft) {
        if !view.is_draining(entry.owner()) || !budget.allows(entry.owner()) {
            continue;
        }
        let free: Vec<_> = targets
            .iter()
            .filter(|to| budget.allows(to))
            .cloned()
            .collect();
        let Some(to) = least(shard, &free, &counts).cloned() else {
            return;
        };
        budget.spend(entry.owner(), &to);
        *counts.entry(to.clone()).or_default() += 1;
        draft.try_set(shard, entry.move_to(to), Why::Drained);
    }
}

/// Spreads shards anew once a worker has less than half of its share, with no
/// more moves than it takes; gives whether that is still to go on. What people
/// have moved by hand stays.
pub(super) fn rebalance(view: &View<'_>, draft: &mut Draft) -> bool {
    let targets = view.targets();
    let mut counts = counts(draft.entries.values(), &targets);
    let share = draft.entries.len() / targets.len().max(1);
    if !view.rebalancing && counts.values().all(|count| count * 2 >= share) {
        return false;
    }
    let mut budget = Budget::of(draft);
    while let Some((from, to)) = uneven(&counts) {
        if !budget.allows(&from) || !budget.allows(&to) {
            return true;
        }
        let Some((shard, entry)) = best(view, draft, &from, &to, &targets) else {
            return true;
        };
        budget.spend(&from, &to);
        *counts.entry(from).or_default() -= 1;
        *counts.entry(to.clone()).or_default() += 1;
        draft.try_set(shard, entry.move_to(to), Why::Rebalanced);
    }
    false
}

/// The workers with the most and the fewest shards, if a move would help.
fn uneven(counts: &BTreeMap<Owner, usize>) -> Option<(Owner, Owner)> {
    let (from, most) = counts.iter().max_by_key(|(_, count)| **count)?;
    let (to, fewest) = counts.iter().min_by_key(|(_, count)| **count)?;
    (most - fewest >= 2).then(|| (from.clone(), to.clone()))
}

/// The shard of `from` that prefers `to` most.
fn best(
    view: &View<'_>,
    draft: &Draft,
    from: &Owner,
    to: &Owner,
    targets: &[Owner],
) -> Option<(ShardId, Entry<Owner>)> {
    let rank = |shard| {
        ranked(shard, targets)
            .into_iter()
            .position(|owner| owner == to)
    };
    let own = movable(view, draft)
        .into_iter()
        .filter(|(_, entry)| entry.owner() == from);
    own.min_by_key(|(shard, _)| rank(*shard))
}

/// The shards that their owners serve, and that rest.
fn movable(view: &View<'_>, draft: &Draft) -> Vec<(ShardId, Entry<Owner>)> {
    let entries = draft.entries.iter();
    let movable =
        entries.filter(|(shard, entry)| entry.plan().is_none() && is_served(view, **shard, entry));
    movable
        .map(|(shard, entry)| (*shard, entry.clone()))
        .collect()
}

fn is_served(view: &View<'_>, shard: ShardId, entry: &Entry<Owner>) -> bool {
    let held = view.fleet.held(entry.owner(), shard);
    held.is_some_and(|held| held.phase == Phase::Serving && held.epoch == Some(entry.epoch()))
}

/// The change that an ordered move begins with. It is outside of the budgets.
///
/// # Errors
/// The reason why the shard cannot go there now.
pub fn order_move(view: &View<'_>, shard: u16, to: &WorkerId) -> Result<Change, Refusal> {
    let count = view.map.count();
    let unknown = || Refusal::UnknownShard {
        shard,
        count: count.get(),
    };
    let shard = count.shard(shard).ok_or_else(unknown)?;
    let target = living(view, to)?;
    if view.is_draining(&target) {
        return Err(Refusal::Draining(to.clone()));
    }
    let entry = view.map.entry(shard);
    let moved = entry.move_to(target)?;
    if !is_served(view, shard, entry) {
        return Err(Refusal::NotServed(entry.owner().worker.clone()));
    }
    Ok(Change {
        shard,
        entry: moved,
        why: Why::Ordered,
    })
}

/// Whether `worker` can be emptied.
///
/// # Errors
/// The reason why not.
pub fn check_drain(view: &View<'_>, worker: &WorkerId) -> Result<(), Refusal> {
    living(view, worker)?;
    match view.targets().iter().any(|target| target.worker != *worker) {
        true => Ok(()),
        false => Err(Refusal::Last(worker.clone())),
    }
}

fn living(view: &View<'_>, name: &WorkerId) -> Result<Owner, Refusal> {
    let known = || {
        let names: Vec<_> = view
            .fleet
            .living()
            .map(|(owner, _)| owner.worker.as_str())
            .collect();
        names.join(", ")
    };
    match view.fleet.named(name) {
        Some((owner, member)) if member.life == Life::Alive => Ok(owner.clone()),
        Some(_) => Err(Refusal::Gone(name.clone())),
        None => Err(Refusal::UnknownWorker {
            name: name.clone(),
            known: known(),
        }),
    }
}
