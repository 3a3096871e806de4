//! A store in this process's memory: of an embedded cluster, of tests and simulations.

mod kept;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hexagram_core::ShardId;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::claim_ids::ClaimIds;
use crate::record::{Group, Record};
use crate::store::{Arrived, Claim, Claimed, Store, StoreError, Written};
use kept::Kept;

/// Keeps records as long as the process lives. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore(Arc<Mutex<State>>);

/// A copy of all that a store held at one moment: its backup.
#[derive(Clone, Debug)]
pub struct Snapshot(BTreeMap<ShardId, Kept>);

impl Snapshot {
    /// Whether a shard's record was there, and whole.
    #[must_use]
    pub fn is_whole(&self, shard: ShardId) -> bool {
        self.0.get(&shard).is_some_and(Kept::is_whole)
    }
}

struct State {
    records: BTreeMap<ShardId, Kept>,
    claim_ids: ClaimIds,
    fault: Option<Fault>,
    refused: BTreeSet<ShardId>,
}

/// What is wrong with a store for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Down,
    Mute,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            records: BTreeMap::new(),
            claim_ids: ClaimIds::from(0),
            fault: None,
            refused: BTreeSet::new(),
        })))
    }
}

/// Faults, for tests and simulations.
impl MemoryStore {
    /// Takes the store down or up again. Meanwhile every call answers
    /// [`StoreError::Lost`] and changes nothing; what was stored stays.
    pub fn set_down(&self, down: bool) {
        self.0.lock().fault = down.then_some(Fault::Down);
    }

    /// Loses the store's answers or none any more. Meanwhile every call does what it
    /// is asked and answers [`StoreError::Lost`] all the same.
    pub fn set_mute(&self, mute: bool) {
        self.0.lock().fault = mute.then_some(Fault::Mute);
    }

    /// Refuses what a shard's owner writes, or none of it any more. What others write is
    /// stored.
    pub fn set_refused(&self, shard: ShardId, refused: bool) {
        let shards = &mut self.0.lock().refused;
        match refused {
            true => shards.insert(shard),
            false => shards.remove(&shard),
        };
    }

    /// Loses all records, as a store without a disk does when it restarts.
    pub fn wipe(&self) {
        self.0.lock().records.clear();
    }

    /// Backs all records up.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.lock().records.clone())
    }

    /// Goes back to a backup: what was written since is lost.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.0.lock().records = snapshot.0.clone();
    }

    /// Does one call, unless a fault is on.
    fn call<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let mut state = self.0.lock();
        let lost = |how: &str| Err(StoreError::Lost(how.to_owned()));
        match state.fault {
            None => Ok(work(&mut state)),
            Some(Fault::Down) => lost("it was taken down"),
            Some(Fault::Mute) => {
                work(&mut state);
                lost("its answers are lost")
            }
        }
    }
}

impl Store for MemoryStore {
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        async move { self.call(|state| state.claim(claim, Instant::now())) }.boxed()
    }

    fn load<'a>(
        &'a self,
        shard: ShardId,
        _: Arrived<'a>,
    ) -> BoxFuture<'a, Result<Record, StoreError>> {
        async move { self.call(|state| state.load(shard, Instant::now())) }.boxed()
    }

    fn write<'a>(&'a self, groups: &'a [Group]) -> BoxFuture<'a, Result<Written, StoreError>> {
        async move { self.call(|state| state.write(groups, Instant::now())) }.boxed()
    }
}

impl State {
    fn claim(&mut self, claim: Claim, now: Instant) -> Claimed {
        let id = self.claim_ids.take();
        let mut kept = self.records.remove(&claim.shard);
        let claimed = Kept::claim(&mut kept, claim, id, now);
        if let Claimed::Yours { .. } = claimed {
            self.claim_ids.note(claim.shard, claim.epoch, id);
        }
        self.records.extend(kept.map(|kept| (claim.shard, kept)));
        claimed
    }

    fn load(&self, shard: ShardId, now: Instant) -> Record {
        let kept = self.records.get(&shard);
        kept.map(|kept| kept.record(now)).unwrap_or_default()
    }

    fn write(&mut self, groups: &[Group], now: Instant) -> Written {
        let refused = || StoreError::Lost("it was told to refuse this shard".to_owned());
        let write = |group: &Group| {
            if self.refused.contains(&group.shard) {
                return Err(refused());
            }
            let id = self.claim_ids.of(group.shard, group.epoch);
            Ok(Kept::write(
                self.records.get_mut(&group.shard),
                group,
                id,
                now,
            ))
        };
        groups.iter().map(write).collect()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("MemoryStore")
            .field("shards", &state.records.len())
            .field("fault", &state.fault)
            .finish()
    }
}
