//! What waits to be stored, a lane for each shard. No I/O here: the writer takes groups
//! out and says what became of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use hexagram_core::{Epoch, ShardId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::lane::{Flight, Lane, State, Told, tell};
use crate::record::{Change, Group};
use crate::store::{Mark, Wrote};
use crate::unwritten::Unwritten;

/// Whose lane it is: a shard in an epoch.
pub(crate) type Owner = (ShardId, Epoch);

/// The lanes of one writer.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Mutex<BTreeMap<ShardId, Lane>>,
    lost: AtomicBool,
    pub(crate) news: Notify,
}

/// What the owner of a shard has to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Fenced(ShardId, Epoch, Epoch),
    Behind(ShardId, Epoch),
}

/// A shard's record that is to be claimed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anew {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) floor: Epoch,
}

impl Lanes {
    /// A lane for a shard in a new epoch. `claimed`: the record is as its owner has it.
    pub(crate) fn open(&self, shard: ShardId, epoch: Epoch, claimed: bool) {
        // Its owner cannot say all of it before it serves.
        let state = if claimed { State::Open } else { State::Asked };
        let mut lanes = self.lanes.lock();
        if lanes.get(&shard).is_some_and(|lane| lane.epoch > epoch) {
            // It comes too late: its journal finds no lane.
            return;
        }
        let before = lanes.insert(shard, Lane::new(epoch, state));
        drop(lanes);
        if let Some(before) = before {
            before.refuse(Unwritten::Fenced(epoch));
        }
        self.news.notify_one();
    }

    pub(crate) fn push(&self, owner: Owner, changes: Vec<Change>, told: Option<Told>) {
        let lost = self.lost.load(Ordering::Acquire);
        let (mut changes, mut told, mut why) = (Some(changes), told, Unwritten::Closed);
        self.of(owner, |lane| {
            if let Some(changes) = changes.take().filter(|_| !lane.closed) {
                told = lane.push(changes, told.take(), lost);
                why = Unwritten::Lost;
            }
        });
        tell(told, Err(why));
        self.news.notify_one();
    }

    /// Does something with an owner's lane, if it is not over.
    fn of<T>(&self, (shard, epoch): Owner, act: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        self.with(shard, epoch, act)
    }

    /// Does something with a lane. One that is over then goes: nobody is left who could
    /// say all of it.
    fn with<T>(&self, shard: ShardId, epoch: Epoch, act: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.get_mut(&shard).filter(|lane| lane.epoch == epoch)?;
        let done = act(lane);
        let gone = lane.is_over().then(|| lanes.remove(&shard)).flatten();
        drop(lanes);
        if let Some(gone) = gone {
            gone.refuse(Unwritten::Closed);
        }
        Some(done)
    }

    /// How far a shard is written of which nothing waits or is on its way.
    pub(crate) fn settled(&self, owner: Owner) -> Option<Mark> {
        self.of(owner, |lane| lane.settled()).flatten()
    }

    /// How far a shard is written at least.
    pub(crate) fn written(&self, owner: Owner) -> Option<Mark> {
        self.of(owner, |lane| lane.written()).flatten()
    }

    pub(crate) fn close(&self, owner: Owner) {
        self.of(owner, |lane| lane.closed = true);
    }

    /// Whether there is no shard that has something to say or will have.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.lock().is_empty()
    }

    /// The next groups, one a shard at most; `check`: of every shard.
    pub(crate) fn take(&self, check: bool, now: Instant) -> Vec<Flight> {
        let mut lanes = self.lanes.lock();
        let flights = lanes
            .iter_mut()
            .filter_map(|(shard, lane)| lane.take(*shard, check, now));
        flights.collect()
    }

    /// When something that was refused is to be offered again.
    pub(crate) fn offer_at(&self) -> Option<Instant> {
        let lanes = self.lanes.lock();
        lanes.values().filter_map(Lane::offer_at).min()
    }

    /// Groups without changes, one a shard: who is asked to write them says whether a later
    /// owner has claimed it.
    pub(crate) fn questions(&self) -> Vec<Group> {
        let lanes = self.lanes.lock();
        let questions = lanes.iter().map(|(shard, lane)| Group {
            shard: *shard,
            epoch: lane.epoch,
            number: lane.stored,
            changes: Vec::new(),
        });
        questions.collect()
    }

    pub(crate) fn served(&self, owner: Owner) {
        self.of(owner, |lane| {
            if lane.state == State::Asked {
                lane.state = State::Behind;
            }
        });
        self.news.notify_one();
    }

    /// Shards whose owners are to say all of them, each once.
    pub(crate) fn behind(&self) -> Vec<News> {
        let mut lanes = self.lanes.lock();
        let behind = lanes
            .iter_mut()
            .filter(|(_, lane)| lane.state == State::Behind);
        behind
            .map(|(shard, lane)| {
                lane.state = State::Asked;
                News::Behind(*shard, lane.epoch)
            })
            .collect()
    }

    /// All of a shard, to be stored before what has been handed in since.
    pub(crate) fn rewrite(&self, owner: Owner, floor: Epoch, record: Vec<Vec<Change>>) {
        self.of(owner, |lane| {
            if lane.state == State::Asked {
                lane.rewrite(floor, record);
            }
        });
        self.news.notify_one();
    }

    /// Records that are to be claimed anew now.
    pub(crate) fn to_claim(&self, now: Instant) -> Vec<Anew> {
        let lanes = self.lanes.lock();
        let due = lanes
            .iter()
            .filter(|(_, lane)| lane.offer_at().is_none_or(|at| at <= now));
        let claiming = due.filter_map(|(shard, lane)| match lane.state {
            State::Claiming { floor } => Some(Anew {
                shard: *shard,
                epoch: lane.epoch,
                floor,
            }),
            _ => None,
        });
        claiming.collect()
    }

    /// A record was claimed anew.
    pub(crate) fn claimed(&self, anew: Anew) {
        self.with(anew.shard, anew.epoch, Lane::claimed);
    }

    /// The store does not let a record be claimed anew; gives whether that is new.
    pub(crate) fn claim_refused(&self, anew: Anew, now: Instant) -> bool {
        let refused = self.with(anew.shard, anew.epoch, |lane| lane.refused(None, now));
        refused.unwrap_or(false)
    }

    /// A later owner has claimed the shard.
    pub(crate) fn fenced(&self, shard: ShardId, epoch: Epoch, by: Epoch) -> News {
        let mut lanes = self.lanes.lock();
        if lanes.get(&shard).is_some_and(|lane| lane.epoch == epoch) {
            let gone = lanes.remove(&shard);
            drop(lanes);
            if let Some(gone) = gone {
                gone.refuse(Unwritten::Fenced(by));
            }
        }
        News::Fenced(shard, epoch, by)
    }

    /// The store has answered to a group; gives what its owner has to hear.
    pub(crate) fn settle(&self, flight: Flight, wrote: Wrote) -> Option<News> {
        let Flight { group, told } = flight;
        let (shard, epoch) = (group.shard, group.epoch);
        match wrote {
            Wrote::Stored => {
                self.stored(&group);
                tell(told, Ok(()));
                None
            }
            Wrote::Fenced(by) => {
                tell(told, Err(Unwritten::Fenced(by)));
                Some(self.fenced(shard, epoch, by))
            }
            Wrote::Behind => {
                self.with(shard, epoch, |lane| lane.return_behind(group, told));
                self.news.notify_one();
                None
            }
        }
    }

    /// The store has a group, and too few of its replicas do: who waits is told that it is
    /// lost, though it is not written again.
    pub(crate) fn unreplicated(&self, flight: Flight) {
        self.stored(&flight.group);
        tell(flight.told, Err(Unwritten::Lost));
    }

    fn stored(&self, group: &Group) {
        let (shard, epoch) = (group.shard, group.epoch);
        let again = self.with(shard, epoch, |lane| lane.stored(group.number));
        if again == Some(true) {
            tracing::info!(%shard, "the store takes what this shard has to say again");
        }
    }

    /// The store did not take a group; gives whether that is new.
    pub(crate) fn refused(&self, flight: Flight, now: Instant) -> bool {
        let Flight { group, told } = flight;
        tell(told, Err(Unwritten::Lost));
        let (shard, epoch) = (group.shard, group.epoch);
        let refused = self.with(shard, epoch, |lane| lane.refused(Some(group), now));
        refused.unwrap_or(false)
    }

    /// The store does not answer, or does again. Who waits while it does not is told so.
    pub(crate) fn set_lost(&self, lost: bool, flights: &mut [Flight]) {
        self.lost.store(lost, Ordering::Release);
        if !lost {
            return;
        }
        let waiting = flights.iter_mut();
        tell(
            waiting.flat_map(|flight| flight.told.drain(..)),
            Err(Unwritten::Lost),
        );
        for lane in self.lanes.lock().values_mut() {
            tell(lane.waiters(), Err(Unwritten::Lost));
        }
    }
}
