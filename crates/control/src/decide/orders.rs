//! Moves that somebody orders.

use hexagram_core::{Entry, EntryError, Owner, ShardId, WorkerId};

use super::moves::is_served;
use super::{Change, View, Why};
use crate::fleet::Life;

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
    /// An earlier move has not ended.
    #[error("shard {shard} is moving from {from} to {to} already: wait for the end of that move")]
    Moving {
        /// The shard.
        shard: ShardId,
        /// Its owner.
        from: WorkerId,
        /// Who takes it.
        to: WorkerId,
    },
    /// The owner cannot give it.
    #[error("{worker}, the owner of shard {shard}, does not serve it now: try again in a moment")]
    NotServed {
        /// The shard.
        shard: ShardId,
        /// Its owner.
        worker: WorkerId,
    },
    /// There is no drain to end.
    #[error("worker {0} is not being drained: there is nothing to cancel")]
    NotDrained(WorkerId),
    /// Nobody ordered its drain but who ends it.
    #[error("worker {0} drains because its process is ending: that cannot be cancelled")]
    Ending(WorkerId),
    /// Nobody would be left.
    #[error("no other worker could take the shards of {0}: start one first")]
    Last(WorkerId),
    /// The register's rules.
    #[error("shard {shard}, which {worker} owns, cannot be moved: {error}")]
    Entry {
        /// The shard.
        shard: ShardId,
        /// Its owner.
        worker: WorkerId,
        /// The rule.
        error: EntryError,
    },
}

/// The change that an ordered move begins with. It is outside of the budgets. A shard
/// in quarantine is served again by it. None where the shard is there and stays: who
/// orders the same again has what he wants.
///
/// # Errors
/// The reason why the shard cannot go there now.
pub fn order_move(view: &View<'_>, shard: u16, to: &WorkerId) -> Result<Option<Change>, Refusal> {
    let count = view.map.count();
    let unknown = || Refusal::UnknownShard {
        shard,
        count: count.get(),
    };
    let shard = count.shard(shard).ok_or_else(unknown)?;
    let target = living_named(view, to)?;
    if view.is_draining(&target) {
        return Err(Refusal::Draining(to.clone()));
    }
    let entry = view.map.entry(shard);
    if stays_with(entry, &target) {
        return Ok(None);
    }
    let moved = match entry.is_quarantined() {
        // Nobody has it to give.
        true => view.raised(shard, entry).fail_over(target),
        false => entry.move_to(target),
    };
    let moved = moved.map_err(|error| immovable(shard, entry, error))?;
    if !entry.is_quarantined() && !is_served(view, shard, entry) {
        return Err(Refusal::NotServed {
            shard,
            worker: entry.owner().worker.clone(),
        });
    }
    Ok(Some(Change {
        shard,
        entry: moved,
        why: Why::Ordered,
    }))
}

fn stays_with(entry: &Entry<Owner>, owner: &Owner) -> bool {
    entry.owner() == owner && entry.plan().is_none() && !entry.is_quarantined()
}

/// The register's refusal, with the names that it does not know.
fn immovable(shard: ShardId, entry: &Entry<Owner>, error: EntryError) -> Refusal {
    let worker = entry.owner().worker.clone();
    match (error, entry.plan()) {
        (EntryError::Moving, Some(plan)) => Refusal::Moving {
            shard,
            from: worker,
            to: plan.to.worker.clone(),
        },
        (error, _) => Refusal::Entry {
            shard,
            worker,
            error,
        },
    }
}

/// Whether `worker` can be emptied.
///
/// # Errors
/// The reason why not.
pub fn check_drain(view: &View<'_>, worker: &WorkerId) -> Result<(), Refusal> {
    living_named(view, worker)?;
    match view.targets().iter().any(|target| target.worker != *worker) {
        true => Ok(()),
        false => Err(Refusal::Last(worker.clone())),
    }
}

/// Whether somebody ordered a drain of `worker` that can be ended. It may be silent.
///
/// # Errors
/// The reason why not.
pub fn check_cancel(view: &View<'_>, worker: &WorkerId) -> Result<(), Refusal> {
    let mut living = view.fleet.living();
    if living.any(|(owner, report)| owner.worker == *worker && report.draining) {
        return Err(Refusal::Ending(worker.clone()));
    }
    if view.drains.contains_key(worker) {
        return Ok(());
    }
    living_named(view, worker)?;
    Err(Refusal::NotDrained(worker.clone()))
}

fn living_named(view: &View<'_>, name: &WorkerId) -> Result<Owner, Refusal> {
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
