//! What the controller writes next: a pure function of the map, of what is known
//! of the workers, and of what was asked for. `crates/sim` walks through the same
//! rules in every order of events; each of them was found to be needed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hexagram_core::placement::{Layout, Memory};
use hexagram_core::{Entry, EntryError, Incarnation, Owner, RegisterMap, ShardId, WorkerId};

use crate::fleet::{Fleet, Life};

mod adopt;
mod first;
mod heal;
mod hold;
mod inherit;
mod isolate;
mod moves;
mod orders;
mod suspicion;
#[cfg(test)]
mod tests;
mod waiting;

pub use first::{Patience, first_map};
use heal::Verdict;
pub use hold::Hold;
pub use inherit::inherit;
use moves::Roll;
pub use orders::{Refusal, check_cancel, check_drain, order_move};
pub use suspicion::Suspicions;
pub use waiting::Waiting;

/// All that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The register.
    pub map: &'a RegisterMap,
    /// The workers.
    pub fleet: &'a Fleet,
    /// Workers that somebody wants to be empty, and in which life that was said.
    pub drains: &'a BTreeMap<WorkerId, Incarnation>,
    /// What the last decision gave on; see [`Decision::memory`].
    pub memory: &'a Memory,
    /// As well; see [`Decision::suspicions`].
    pub suspicions: &'a Suspicions,
    /// Whose silence is not believed to be death.
    pub hold: &'a Hold,
    /// Since the controller's start.
    pub now: Duration,
}

/// Why an entry changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// An epoch is in use that the register did not know.
    Behind,
    /// Its new owner serves.
    Committed,
    /// The giver serves on, or the taker is dead.
    Aborted,
    /// Its owner is dead, or nobody may serve it any more.
    FailedOver,
    /// Its own code failed: its owner begins anew with it.
    Restarted,
    /// Its owners died of it, or its own code failed too often.
    Quarantined,
    /// Its owner is to be empty.
    Drained,
    /// Another worker has fewer shards.
    Filled,
    /// Its owner is busier than others.
    Balanced,
    /// Somebody asked for it.
    Ordered,
}

/// A change of one shard's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The shard.
    pub shard: ShardId,
    /// Its entry from now on.
    pub entry: Entry<Owner>,
    /// The reason, for the log.
    pub why: Why,
}

/// What to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// At most one for each shard.
    pub changes: Vec<Change>,
    /// For the next decision, once this one is written.
    pub memory: Memory,
    /// For the next decision, once this one is written.
    pub suspicions: Suspicions,
}

impl View<'_> {
    /// What to write now.
    #[must_use]
    pub fn decide(&self) -> Decision {
        let mut draft = Draft::new(self.map);
        let mut suspicions = self.suspicions.clone();
        suspicions.forget(self.now);
        let mut orphans = Vec::new();
        for (shard, entry) in self.map.entries() {
            match heal::heal(shard, entry, self) {
                Verdict::Sound => {}
                Verdict::Change(entry, why) => draft.set(shard, entry, why),
                Verdict::Orphan => orphans.push(shard),
            }
        }
        isolate::isolate(self, &mut draft, &mut orphans, &mut suspicions);
        adopt::adopt(self, &mut draft, &orphans, &mut suspicions);
        let memory = moves::plan(self, &mut draft);
        Decision {
            changes: draft.changes(),
            memory,
            suspicions,
        }
    }

    /// Whether `owner` lives, as far as it is believed.
    pub(crate) fn life(&self, owner: &Owner) -> Life {
        self.hold.life(self.fleet, owner)
    }

    /// `entry`, above every epoch of `shard` that is in use.
    fn raised(&self, shard: ShardId, entry: &Entry<Owner>) -> Entry<Owner> {
        let seen = self.fleet.spent(shard);
        seen.map_or_else(|| entry.clone(), |seen| entry.above(seen))
    }

    /// Who has what, as placement sees it.
    pub(crate) fn layout(&self) -> Layout {
        let draft = Draft::new(self.map);
        Roll::of(self, &draft).layout(self, &draft, &[])
    }

    /// Whether `owner` is to be empty.
    pub(crate) fn is_draining(&self, owner: &Owner) -> bool {
        let mut living = self.fleet.living();
        self.drains.contains_key(&owner.worker)
            || living.any(|(other, report)| other == owner && report.draining)
    }

    /// Those that may be given a shard: those whose end is near only where there is
    /// nobody else.
    fn targets(&self) -> Vec<Owner> {
        let living = self.fleet.living().map(|(owner, _)| owner);
        let open = living.filter(|owner| !self.is_draining(owner));
        let (outgoing, lasting): (Vec<_>, Vec<_>) = open
            .cloned()
            .partition(|owner| self.fleet.is_outgoing(&owner.worker));
        match lasting.is_empty() {
            true => outgoing,
            false => lasting,
        }
    }

    /// Whether some workers are being replaced by others that live already. Meanwhile
    /// only shards of those that drain move: whatever went to the first of the new ones
    /// earlier would move again to the next.
    fn is_rolling(&self) -> bool {
        let is_outgoing = |owner: &Owner| self.fleet.is_outgoing(&owner.worker);
        let living = || self.fleet.living().map(|(owner, _)| owner);
        living().any(is_outgoing) && !living().all(is_outgoing)
    }
}

/// The map as it will be, while a decision grows.
struct Draft {
    entries: BTreeMap<ShardId, Entry<Owner>>,
    why: BTreeMap<ShardId, Why>,
}

impl Draft {
    fn new(map: &RegisterMap) -> Self {
        let entries = map.entries().map(|(shard, entry)| (shard, entry.clone()));
        Self {
            entries: entries.collect(),
            why: BTreeMap::new(),
        }
    }

    fn set(&mut self, shard: ShardId, entry: Entry<Owner>, why: Why) {
        self.entries.insert(shard, entry);
        self.why.insert(shard, why);
    }

    /// As [`Self::set`], unless it is refused.
    fn try_set(&mut self, shard: ShardId, entry: Result<Entry<Owner>, EntryError>, why: Why) {
        match entry {
            Ok(entry) => self.set(shard, entry, why),
            Err(error) => tracing::error!(%shard, %error, "the shard stays as it is"),
        }
    }

    fn changes(mut self) -> Vec<Change> {
        let entries = &mut self.entries;
        let change = |(shard, why)| {
            let entry = entries.remove(&shard)?;
            Some(Change { shard, entry, why })
        };
        self.why.into_iter().filter_map(change).collect()
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Behind => "the register was behind",
            Self::Committed => "move ended",
            Self::Aborted => "move given up",
            Self::FailedOver => "failed over",
            Self::Restarted => "restarted: its own code failed",
            Self::Quarantined => "in quarantine: its owners died of it, or it failed too often",
            Self::Drained => "move begun: its worker drains",
            Self::Filled => "move begun: another worker has fewer",
            Self::Balanced => "move begun: another worker is less busy",
            Self::Ordered => "move begun: ordered",
        })
    }
}
