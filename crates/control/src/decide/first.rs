//! The map of an empty register: what the workers hold, and a spread of the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::{Entry, Epoch, Owner, RegisterMap, ShardCount, ShardId, WorkerId, spread};
use hexagram_proto::admin::Phase;

use super::waiting::{LOST, NEW, Waiting};
use crate::fleet::{Fleet, Life};

/// How long to wait for workers.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Since the last worker joined, or the controller started.
    pub quiet: Duration,
    /// Wait for so many workers instead of a second.
    pub expected: Option<usize>,
    /// The first epoch of a shard of which nobody reports one. Above all of an
    /// earlier life of the cluster: sessions whose end is forgotten are refused
    /// then (ADR 0005).
    pub least: Epoch,
}

/// The first map, once enough is known: who holds a shard goes on with it. Its
/// epochs are above all that were ever reported.
///
/// # Errors
/// What it has to wait for.
pub fn first_map(
    version: u64,
    count: ShardCount,
    fleet: &Fleet,
    patience: Patience,
) -> Result<RegisterMap, Waiting> {
    let silent = silent(fleet);
    if !silent.is_empty() {
        return Err(Waiting::Silent(silent));
    }
    let living: Vec<_> = fleet.living().collect();
    if living.is_empty() {
        return Err(Waiting::Workers);
    }
    let mut targets: BTreeMap<&WorkerId, &Owner> = BTreeMap::new();
    for (owner, report) in &living {
        if !report.draining {
            targets.insert(&owner.worker, owner);
        }
    }
    let held: Vec<_> = count.iter().map(|shard| holder(shard, fleet)).collect();
    if let Some(waiting) = incomplete(&held, fleet, count, living.len(), patience) {
        return Err(waiting);
    }
    let names: Vec<_> = targets.keys().map(|name| (*name).clone()).collect();
    let spread = spread(version, count, &names).ok();
    let chosen = |shard| Some((*targets.get(&spread.as_ref()?.assignment(shard).owner)?).clone());
    let entry = |(shard, held): (ShardId, Option<Entry<Owner>>)| {
        let fresh = || {
            let owner = granter(shard, fleet).or_else(|| chosen(shard));
            let owner = owner.ok_or(Waiting::Ending)?;
            let entry = fresh(owner, fleet.spent(shard), patience.least);
            entry.ok_or(Waiting::Exhausted)
        };
        held.map_or_else(fresh, Ok)
    };
    let entries = count
        .iter()
        .zip(held)
        .map(entry)
        .collect::<Result<_, _>>()?;
    let map = RegisterMap::new(version, count, entries, BTreeMap::new());
    Ok(map.expect("one entry for each shard"))
}

/// Those of whom nothing is known but that they joined.
fn silent(fleet: &Fleet) -> Vec<WorkerId> {
    let silent = fleet
        .members()
        .filter(|(_, member)| member.life == Life::Suspect);
    silent.map(|(owner, _)| owner.worker.clone()).collect()
}

/// Who is to come first, if anybody is.
fn incomplete(
    held: &[Option<Entry<Owner>>],
    fleet: &Fleet,
    count: ShardCount,
    joined: usize,
    patience: Patience,
) -> Option<Waiting> {
    let is_new = count.iter().all(|shard| fleet.spent(shard).is_none());
    let mut nobodys = count.iter().zip(held).filter(|(_, held)| held.is_none());
    let (shard, _) = nobodys.next()?;
    match (is_new, patience.expected) {
        (true, Some(wanted)) => (joined < wanted).then_some(Waiting::Expected { wanted, joined }),
        (true, None) => (patience.quiet < NEW).then_some(Waiting::More { joined }),
        (false, _) => (patience.quiet < LOST).then(|| Waiting::Holders {
            shard,
            held_by_nobody: 1 + nobodys.count(),
            count,
        }),
    }
}

/// An epoch above `spent`, not below `least`, for `owner`; none where there is none left.
fn fresh(owner: Owner, spent: Option<Epoch>, least: Epoch) -> Option<Entry<Owner>> {
    let above = spent.map_or(Some(least), Epoch::next)?;
    Some(Entry::new(owner, above.max(least)))
}

/// Who gave the shard away, keeps its state, and found nobody to take it.
fn granter(shard: ShardId, fleet: &Fleet) -> Option<Owner> {
    let granted = fleet.living().filter_map(|(owner, _)| {
        let held = fleet.held(owner, shard)?;
        (held.phase == Phase::Granted).then_some((held.epoch, owner))
    });
    granted.max().map(|(_, owner)| owner.clone())
}

/// The entry that the living workers' reports speak for; none while the shard
/// was granted to somebody who is not here yet.
fn holder(shard: ShardId, fleet: &Fleet) -> Option<Entry<Owner>> {
    let holds = fleet.living().filter_map(|(owner, _)| {
        let held = fleet.held(owner, shard)?;
        let serves = matches!(held.phase, Phase::Claiming | Phase::Serving | Phase::Frozen);
        Some((serves.then_some(held.epoch?)?, owner))
    });
    let (epoch, owner) = holds.max()?;
    let spent = fleet.spent(shard)?;
    let outdated = fleet.living().any(|(other, _)| {
        let held = fleet.held(other, shard);
        held.is_some_and(|held| held.phase == Phase::Granted && held.epoch > Some(epoch))
    });
    match outdated {
        true => None,
        false => Entry::restore(owner.clone(), epoch, None, spent),
    }
}
