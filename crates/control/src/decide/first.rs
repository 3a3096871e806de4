//! The map of an empty register: what the workers hold, and a spread of the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::{Entry, Epoch, Owner, RegisterMap, ShardCount, ShardId, WorkerId, spread};
use hexagram_proto::admin::Phase;

use crate::fleet::{Fleet, Life};

/// Quiet after which a new cluster is complete.
const NEW: Duration = Duration::from_secs(1);
/// Quiet after which a running cluster whose register was lost is complete: each
/// worker has tried to join twice.
const LOST: Duration = Duration::from_secs(5);

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
#[must_use]
pub fn first_map(
    version: u64,
    count: ShardCount,
    fleet: &Fleet,
    patience: Patience,
) -> Option<RegisterMap> {
    if fleet
        .members()
        .any(|(_, member)| member.life == Life::Suspect)
    {
        return None;
    }
    let living: Vec<_> = fleet.living().collect();
    let mut targets: BTreeMap<&WorkerId, &Owner> = BTreeMap::new();
    for (owner, report) in &living {
        if !report.draining {
            targets.insert(&owner.worker, owner);
        }
    }
    let held: Vec<_> = count.iter().map(|shard| holder(shard, fleet)).collect();
    if !is_complete(&held, fleet, count, living.len(), patience) {
        return None;
    }
    let names: Vec<_> = targets.keys().map(|name| (*name).clone()).collect();
    let spread = spread(version, count, &names).ok();
    let chosen = |shard| Some((*targets.get(&spread.as_ref()?.assignment(shard).owner)?).clone());
    let entry = |(shard, held): (ShardId, Option<Entry<Owner>>)| {
        let fresh = || {
            fresh(
                granter(shard, fleet).or_else(|| chosen(shard))?,
                fleet.spent(shard),
                patience.least,
            )
        };
        held.or_else(fresh)
    };
    let entries = count.iter().zip(held).map(entry).collect::<Option<_>>()?;
    RegisterMap::new(version, count, entries, BTreeMap::new())
}

fn is_complete(
    held: &[Option<Entry<Owner>>],
    fleet: &Fleet,
    count: ShardCount,
    living: usize,
    patience: Patience,
) -> bool {
    let is_new = count.iter().all(|shard| fleet.spent(shard).is_none());
    if held.iter().all(Option::is_some) {
        return true;
    }
    match (is_new, patience.expected) {
        (true, Some(expected)) => living >= expected,
        (true, None) => patience.quiet >= NEW,
        (false, _) => patience.quiet >= LOST,
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
