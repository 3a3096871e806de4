//! The register's map as JSON: in the state file and on the way to edges and
//! workers.

use std::collections::BTreeMap;

use hexagram_core::{Entry, Epoch, Owner, Plan, RegisterMap, ShardCount};
use serde::{Deserialize, Serialize};

/// A map that cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Another cluster's.
    #[error(
        "it belongs to cluster {theirs:?}, this process to {ours:?}: give both the same --cluster"
    )]
    Cluster {
        /// This process's cluster.
        ours: String,
        /// The map's.
        theirs: String,
    },
    /// Not one entry for each shard.
    #[error("it has {theirs} shards, this process {ours}: --shards is fixed for a cluster's life")]
    Shards {
        /// This process's number of shards.
        ours: ShardCount,
        /// The map's.
        theirs: usize,
    },
    /// A name, number or order that no register writes.
    #[error("it is damaged at {0:?}")]
    Damaged(String),
}

/// A map as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MapForm {
    cluster: String,
    version: u64,
    shards: Vec<EntryForm>,
    workers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct EntryForm {
    owner: String,
    epoch: u64,
    spent: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    moving: Option<PlanForm>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    quarantined: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PlanForm {
    to: String,
    epoch: u64,
}

impl MapForm {
    /// The form of `cluster`'s `map`.
    #[must_use]
    pub fn of(cluster: &str, map: &RegisterMap) -> Self {
        let addresses = map.addresses().iter();
        Self {
            cluster: cluster.to_owned(),
            version: map.version(),
            shards: map
                .entries()
                .map(|(_, entry)| EntryForm::of(entry))
                .collect(),
            workers: addresses
                .map(|(owner, address)| (owner.to_string(), address.clone()))
                .collect(),
        }
    }

    /// The map, if it is one of `cluster` with so many `shards`.
    ///
    /// # Errors
    /// The reason why it is not.
    pub fn open(self, cluster: &str, shards: ShardCount) -> Result<RegisterMap, FormError> {
        if self.cluster != cluster {
            return Err(FormError::Cluster {
                ours: cluster.to_owned(),
                theirs: self.cluster,
            });
        }
        let theirs = self.shards.len();
        let entries: Vec<_> = self
            .shards
            .iter()
            .map(EntryForm::open)
            .collect::<Result<_, _>>()?;
        let addresses = self.workers.into_iter();
        let addresses = addresses.map(|(name, address)| Ok((owner(&name)?, address)));
        let addresses = addresses.collect::<Result<_, FormError>>()?;
        RegisterMap::new(self.version, shards, entries, addresses).ok_or(FormError::Shards {
            ours: shards,
            theirs,
        })
    }
}

impl EntryForm {
    fn of(entry: &Entry<Owner>) -> Self {
        let moving = entry.plan().map(|plan| PlanForm {
            to: plan.to.to_string(),
            epoch: plan.epoch.get(),
        });
        Self {
            owner: entry.owner().to_string(),
            epoch: entry.epoch().get(),
            spent: entry.spent().get(),
            moving,
            quarantined: entry.is_quarantined(),
        }
    }

    fn open(&self) -> Result<Entry<Owner>, FormError> {
        let plan = self.moving.as_ref().map(PlanForm::open).transpose()?;
        let (own, at) = (owner(&self.owner)?, epoch(self.epoch)?);
        let damaged = || FormError::Damaged(format!("{}, epoch {at}", self.owner));
        let entry = Entry::restore(own, at, plan, epoch(self.spent)?);
        let entry = entry.and_then(|entry| entry.restore_quarantine(self.quarantined));
        entry.ok_or_else(damaged)
    }
}

impl PlanForm {
    fn open(&self) -> Result<Plan<Owner>, FormError> {
        Ok(Plan {
            to: owner(&self.to)?,
            epoch: epoch(self.epoch)?,
        })
    }
}

fn epoch(number: u64) -> Result<Epoch, FormError> {
    Epoch::new(number).ok_or_else(|| FormError::Damaged("epoch 0".to_owned()))
}

pub(crate) fn owner(text: &str) -> Result<Owner, FormError> {
    text.parse()
        .map_err(|_| FormError::Damaged(text.to_owned()))
}
