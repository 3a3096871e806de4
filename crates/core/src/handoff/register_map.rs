//! The shard map as the register holds it: every shard's entry, and how the
//! workers are reached.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Entry, EntryError};
use crate::{Assignment, Epoch, Incarnation, ShardCount, ShardId, ShardMap, WorkerId};

/// A worker in one life: a restarted one is another owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The worker's name.
    pub worker: WorkerId,
    /// Its life.
    pub incarnation: Incarnation,
}

/// One version of the register's shard map. The number of entries is the
/// cluster's number of shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterMap {
    version: u64,
    count: ShardCount,
    entries: Vec<Entry<Owner>>,
    addresses: BTreeMap<Owner, String>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.worker, self.incarnation)
    }
}

/// What is no owner: `NAME/INCARNATION`, the latter in hexadecimal, is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no worker in one life: write NAME/INCARNATION")]
pub struct OwnerError(String);

impl FromStr for Owner {
    type Err = OwnerError;

    /// What its `Display` shows.
    fn from_str(text: &str) -> Result<Self, OwnerError> {
        let read = || {
            let (worker, incarnation) = text.split_once('/')?;
            Some(Self {
                worker: worker.parse().ok()?,
                incarnation: Incarnation::new(u64::from_str_radix(incarnation, 16).ok()?)?,
            })
        };
        read().ok_or_else(|| OwnerError(text.to_owned()))
    }
}

impl RegisterMap {
    /// The map with these entries, in the shards' order; `None` unless there is
    /// one for each shard.
    #[must_use]
    pub fn new(
        version: u64,
        count: ShardCount,
        entries: Vec<Entry<Owner>>,
        addresses: BTreeMap<Owner, String>,
    ) -> Option<Self> {
        (entries.len() == usize::from(count.get())).then_some(Self {
            version,
            count,
            entries,
            addresses,
        })
    }

    /// A later map has a greater one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// How many shards there are.
    #[must_use]
    pub const fn count(&self) -> ShardCount {
        self.count
    }

    /// What the register says of `shard`.
    ///
    /// # Panics
    /// If `shard` was made from a greater [`ShardCount`] than this map's.
    #[must_use]
    pub fn entry(&self, shard: ShardId) -> &Entry<Owner> {
        &self.entries[shard.index()]
    }

    /// All entries by shard.
    pub fn entries(&self) -> impl Iterator<Item = (ShardId, &Entry<Owner>)> {
        self.count.iter().zip(&self.entries)
    }

    /// Where the workers are reached, as `host:port`.
    #[must_use]
    pub const fn addresses(&self) -> &BTreeMap<Owner, String> {
        &self.addresses
    }

    /// The next version, with one shard's entry changed.
    ///
    /// # Errors
    /// Whatever `change` refuses.
    pub fn change(
        &self,
        shard: ShardId,
        change: impl FnOnce(&Entry<Owner>) -> Result<Entry<Owner>, EntryError>,
    ) -> Result<Self, EntryError> {
        let mut next = self.clone();
        next.entries[shard.index()] = change(self.entry(shard))?;
        next.version += 1;
        Ok(next)
    }

    /// The next version, with these workers' addresses.
    #[must_use]
    pub fn with_addresses(&self, addresses: BTreeMap<Owner, String>) -> Self {
        Self {
            version: self.version + 1,
            addresses,
            ..self.clone()
        }
    }

    /// This map as a later version, which says the same.
    #[must_use]
    pub fn renewed(&self) -> Self {
        self.with_addresses(self.addresses.clone())
    }

    /// This map, with the epochs taken notice of that are `seen` to be in use although it may
    /// not know them: see [`Entry::above`]. Who owns what stays.
    #[must_use]
    pub fn above(&self, seen: impl Fn(ShardId) -> Option<Epoch>) -> Self {
        let entries = self.entries().map(|(shard, entry)| {
            let seen = seen(shard);
            seen.map_or_else(|| entry.clone(), |seen| entry.above(seen))
        });
        Self {
            entries: entries.collect(),
            ..self.clone()
        }
    }

    /// This map, but for the shards of which `other` knows a later epoch: there it is
    /// `other` that counts, and what it knows of the addresses of those who own or take
    /// them. No epoch is earlier than in either (invariant I4). For those who only route:
    /// no register has ever held such a map. One with another number of shards adds nothing.
    #[must_use]
    pub fn with_later(&self, other: &Self) -> Self {
        let mut merged = self.clone();
        if other.count != self.count {
            return merged;
        }
        for (ours, theirs) in merged.entries.iter_mut().zip(&other.entries) {
            if theirs.epoch() <= ours.epoch() {
                continue;
            }
            let taker = theirs.plan().map(|plan| &plan.to);
            for life in [Some(theirs.owner()), taker].into_iter().flatten() {
                if let Some(address) = other.addresses.get(life) {
                    let known = merged.addresses.entry(life.clone());
                    known.or_insert_with(|| address.clone());
                }
            }
            *ours = theirs.clone();
        }
        merged
    }

    /// Who owns what, for those who only route.
    #[must_use]
    pub fn routes(&self) -> ShardMap {
        ShardMap::build(self.version, self.count, |shard| {
            let entry = self.entry(shard);
            Assignment {
                owner: entry.owner().worker.clone(),
                epoch: Some(entry.epoch()),
                quarantined: entry.is_quarantined(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHARDS: usize = 4;

    fn life(number: u8) -> Owner {
        Owner {
            worker: format!("w-{number}").parse().expect("a name"),
            incarnation: Incarnation::new(1).expect("not zero"),
        }
    }

    /// An owner, its epoch, and who is to have the shard next.
    type Given = (u8, u64, Option<u8>);

    fn entry((owner, epoch, taker): Given) -> Entry<Owner> {
        let entry = Entry::new(life(owner), Epoch::new(epoch).expect("not zero"));
        let moving = taker.and_then(|taker| entry.move_to(life(taker)).ok());
        moving.unwrap_or(entry)
    }

    /// A map in which everybody has an address that tells whose map it is.
    fn map(version: u64, given: Vec<Given>) -> RegisterMap {
        let count = ShardCount::try_from(4).expect("a power of two");
        let addresses = (0..4).map(|number| (life(number), format!("{version}:{number}")));
        let entries = given.into_iter().map(entry).collect();
        let map = RegisterMap::new(version, count, entries, addresses.collect());
        map.expect("an entry for each shard")
    }

    fn given() -> impl Strategy<Value = Vec<Given>> {
        let one = (0u8..4, 1u64..5, prop::option::of(0u8..4));
        prop::collection::vec(one, SHARDS)
    }

    proptest! {
        #[test]
        fn the_later_epoch_of_each_shard_counts(ours in given(), theirs in given()) {
            let (ours, theirs) = (map(7, ours), map(9, theirs));
            let merged = ours.with_later(&theirs);
            prop_assert_eq!(merged.version(), ours.version());
            for (shard, entry) in merged.entries() {
                let (own, other) = (ours.entry(shard), theirs.entry(shard));
                let counts = if other.epoch() > own.epoch() { other } else { own };
                prop_assert_eq!(entry, counts);
            }
            prop_assert_eq!(merged.with_later(&theirs), merged, "it is all in there");
        }

        #[test]
        fn whoever_has_or_gets_a_shard_is_reached(ours in given(), theirs in given(), known in 0u8..4) {
            let own = BTreeMap::from([(life(known), "own".to_owned())]);
            let ours = map(7, ours).with_addresses(own);
            let theirs = map(9, theirs);
            let merged = ours.with_later(&theirs);
            for (shard, entry) in merged.entries() {
                if entry == ours.entry(shard) {
                    continue;
                }
                let taker = entry.plan().map(|plan| &plan.to);
                for life in [Some(entry.owner()), taker].into_iter().flatten() {
                    let of = ours.addresses().get(life).or(theirs.addresses().get(life));
                    prop_assert_eq!(merged.addresses().get(life), of);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn epochs_in_use_are_taken_notice_of(
            ours in given(),
            seen in prop::collection::vec(0u64..9, SHARDS),
        ) {
            let ours = map(7, ours);
            let seen = |shard: ShardId| Epoch::new(seen[shard.index()]);
            let above = ours.above(seen);
            prop_assert_eq!(above.version(), ours.version());
            for (shard, entry) in above.entries() {
                let own = ours.entry(shard);
                prop_assert_eq!((entry.owner(), entry.epoch()), (own.owner(), own.epoch()));
                prop_assert_eq!(entry.plan(), own.plan());
                prop_assert_eq!(Some(entry.spent()), seen(shard).max(Some(own.spent())));
            }
        }
    }

    #[test]
    fn a_map_of_another_size_adds_nothing() {
        let ours = map(1, vec![(0, 1, None); SHARDS]);
        let one = ShardCount::try_from(1).expect("a power of two");
        let entries = vec![entry((1, 9, None))];
        let other = RegisterMap::new(2, one, entries, BTreeMap::new()).expect("one shard");
        assert_eq!(ours.with_later(&other), ours);
    }
}
