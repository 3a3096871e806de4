//! The shard map: which worker owns which shard, as one immutable snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use crate::{Epoch, ShardCount, ShardId};

#[cfg(test)]
mod tests;

/// A worker's name: a DNS label, 1..=63 of `a-z`, `0-9` and inner `-`, as a
/// pod's name is. Cheap to clone.
///
/// ```
/// use hexagram_core::WorkerId;
/// let worker: WorkerId = "worker-0".parse()?;
/// assert_eq!(worker.as_str(), "worker-0");
/// assert!("Worker_0".parse::<WorkerId>().is_err());
/// # Ok::<(), hexagram_core::WorkerIdError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(Arc<str>);

/// A text that names no worker.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no worker name: use 1 to 63 lower-case letters, digits and `-`, \
     starting and ending with a letter or digit"
)]
pub struct WorkerIdError(String);

/// Who owns a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The worker that may serve the shard.
    pub owner: WorkerId,
    /// The epoch it owns the shard in; `None` while it is not learnt yet: a
    /// static map names owners only, and the owner's Hello tells the epoch.
    pub epoch: Option<Epoch>,
    /// Nobody is to serve it, not even its owner.
    pub quarantined: bool,
}

/// One version of the assignment of every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    version: u64,
    count: ShardCount,
    assignments: Vec<Assignment>,
}

/// Assignments that make no shard map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShardMapError {
    /// Not one assignment per shard.
    #[error("{given} assignments for {count} shards: give exactly one per shard, in order")]
    WrongLength {
        /// How many shards the cluster has.
        count: ShardCount,
        /// How many assignments were given.
        given: usize,
    },
}

impl WorkerId {
    const MAX_LEN: usize = 63;

    /// The worker's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerId {
    type Err = WorkerIdError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let valid = (1..=Self::MAX_LEN).contains(&name.len())
            && name.bytes().all(inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if valid {
            Ok(Self(name.into()))
        } else {
            Err(WorkerIdError(name.to_owned()))
        }
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl ShardMap {
    /// The map with one assignment per shard, in the shards' order.
    ///
    /// # Errors
    /// If the number of assignments is not the number of shards.
    pub fn new(
        version: u64,
        count: ShardCount,
        assignments: Vec<Assignment>,
    ) -> Result<Self, ShardMapError> {
        let given = assignments.len();
        if given == usize::from(count.get()) {
            Ok(Self {
                version,
                count,
                assignments,
            })
        } else {
            Err(ShardMapError::WrongLength { count, given })
        }
    }

    /// The map that `assign` gives, asked for every shard in order.
    pub(crate) fn build(
        version: u64,
        count: ShardCount,
        assign: impl FnMut(ShardId) -> Assignment,
    ) -> Self {
        Self {
            version,
            count,
            assignments: count.iter().map(assign).collect(),
        }
    }

    /// How many shards there are.
    #[must_use]
    pub const fn count(&self) -> ShardCount {
        self.count
    }

    /// The map's version; a later map has a greater one.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Who owns `shard`.
    ///
    /// # Panics
    /// If `shard` was made from a greater [`ShardCount`] than this map's.
    #[must_use]
    pub fn assignment(&self, shard: ShardId) -> &Assignment {
        &self.assignments[shard.index()]
    }

    /// A number by which processes find out whether their maps name the same
    /// owners. It leaves out version and epochs; it is the same in every release.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for assignment in &self.assignments {
            hasher.update(assignment.owner.as_str().as_bytes());
            // No name has a zero byte, so no two lists of names are alike.
            hasher.update(&[0]);
        }
        hasher.digest()
    }

    /// The shards that `worker` owns, in ascending order.
    #[must_use]
    pub fn owned_by(&self, worker: &WorkerId) -> Vec<ShardId> {
        let owned = |shard: &ShardId| self.assignment(*shard).owner == *worker;
        self.count.iter().filter(owned).collect()
    }

    /// How many shards each worker owns; a worker without any is absent.
    #[must_use]
    pub fn shards_per_worker(&self) -> BTreeMap<WorkerId, usize> {
        let mut shards = BTreeMap::new();
        for assignment in &self.assignments {
            *shards.entry(assignment.owner.clone()).or_default() += 1;
        }
        shards
    }
}
