//! The shard map as the register holds it: every shard's entry, and how the
//! workers are reached.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Entry, EntryError};
use crate::{Assignment, Incarnation, ShardCount, ShardId, ShardMap, WorkerId};

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
