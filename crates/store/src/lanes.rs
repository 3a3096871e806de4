//! What waits to be stored, a lane for each shard. No I/O here: the writer takes groups
//! out and says what became of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use hexagram_core::{Epoch, ShardId};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::journal::{Journal, Unwritten};
use crate::record::{Change, Group};
use crate::store::Wrote;

/// Bytes of one group, unless a single entry has more: one script is not to keep others
/// waiting for long.
const GROUP_BYTES: usize = 256 << 10;
/// Bytes that wait for one shard while the store is away; beyond, the shard is written
/// anew once it is back.
const LANE_BYTES: usize = 4 << 20;

type Told = oneshot::Sender<Result<(), Unwritten>>;

/// The lanes of one writer.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Mutex<BTreeMap<ShardId, Lane>>,
    lost: AtomicBool,
    pub(crate) news: Notify,
}

/// One shard's lane.
#[derive(Debug)]
struct Lane {
    epoch: Epoch,
    // Number of the last group that is stored.
    stored: u64,
    waiting: Vec<Entry>,
    bytes: usize,
    state: State,
    closed: bool,
    // A group is on its way.
    flying: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Groups may be written.
    Open,
    /// The record is not what it should be; its owner is to say all of it.
    Behind,
    /// The owner was asked.
    Asked,
    /// All of it waits, to be written once the record is claimed anew.
    Claiming { floor: Epoch },
}

#[derive(Debug)]
struct Entry {
    changes: Vec<Change>,
    told: Option<Told>,
}

/// A group on its way, and who waits for it.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) group: Group,
    told: Vec<Told>,
}

/// What the owner of a shard has to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Fenced(ShardId, Epoch, Epoch),
    Behind(ShardId, Epoch),
}

impl Lane {
    fn new(epoch: Epoch, state: State) -> Self {
        Self {
            epoch,
            stored: 0,
            waiting: Vec::new(),
            bytes: 0,
            state,
            closed: false,
            flying: false,
        }
    }

    /// Takes the next group out, as large as one may be; `check`: one without changes too.
    fn take(&mut self, shard: ShardId, check: bool) -> Option<Flight> {
        let is_due = !self.waiting.is_empty() || (check && !self.closed);
        if self.state != State::Open || !is_due {
            return None;
        }
        let (mut changes, mut told, mut taken) = (Vec::new(), Vec::new(), 0);
        let mut bytes = 0;
        for entry in &self.waiting {
            let more = size(&entry.changes);
            if taken > 0 && bytes + more > GROUP_BYTES {
                break;
            }
            bytes += more;
            taken += 1;
        }
        self.bytes -= bytes;
        for entry in self.waiting.drain(..taken) {
            changes.extend(entry.changes);
            told.extend(entry.told);
        }
        self.flying = !changes.is_empty();
        let number = self.stored + u64::from(self.flying);
        let group = Group {
            shard,
            epoch: self.epoch,
            number,
            changes,
        };
        Some(Flight { group, told })
    }

    /// Drops what waits: it is to be written anew as a whole.
    fn overflow(&mut self) {
        if matches!(self.state, State::Open | State::Claiming { .. }) {
            self.state = State::Behind;
        }
        let dropped = std::mem::take(&mut self.waiting);
        tell(
            dropped.into_iter().filter_map(|entry| entry.told),
            Err(Unwritten::Lost),
        );
        self.bytes = 0;
    }

    fn refuse(self, why: Unwritten) {
        tell(
            self.waiting.into_iter().filter_map(|entry| entry.told),
            Err(why),
        );
    }
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

    pub(crate) fn push(&self, journal: &Journal, changes: Vec<Change>, told: Option<Told>) {
        let lost = self.lost.load(Ordering::Acquire);
        let refused = {
            let mut lanes = self.lanes.lock();
            match lanes
                .get_mut(&journal.shard)
                .filter(|lane| lane.epoch == journal.epoch && !lane.closed)
            {
                None => told.map(|told| (told, Unwritten::Closed)),
                Some(lane) => {
                    lane.bytes += size(&changes);
                    let (kept, refused) = match (lost, told) {
                        (true, told) => (None, told.map(|told| (told, Unwritten::Lost))),
                        (false, told) => (told, None),
                    };
                    lane.waiting.push(Entry {
                        changes,
                        told: kept,
                    });
                    if lane.bytes > LANE_BYTES && lost {
                        lane.overflow();
                    }
                    refused
                }
            }
        };
        if let Some((told, why)) = refused {
            let _ = told.send(Err(why));
        }
        self.news.notify_one();
    }

    /// Whether nothing of a shard waits or is on its way.
    pub(crate) fn is_settled(&self, journal: &Journal) -> bool {
        let lanes = self.lanes.lock();
        let lane = lanes.get(&journal.shard);
        lane.is_some_and(|lane| {
            let is_idle = lane.waiting.is_empty() && !lane.flying;
            lane.epoch == journal.epoch && lane.state == State::Open && is_idle
        })
    }

    pub(crate) fn close(&self, journal: &Journal) {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get_mut(&journal.shard)
            && lane.epoch == journal.epoch
        {
            lane.closed = true;
            if lane.waiting.is_empty() || lane.state != State::Open {
                let gone = lanes.remove(&journal.shard);
                drop(lanes);
                if let Some(gone) = gone {
                    gone.refuse(Unwritten::Closed);
                }
            }
        }
    }

    /// The next groups, one a shard at most; `check`: of every shard.
    pub(crate) fn take(&self, check: bool) -> Vec<Flight> {
        let mut lanes = self.lanes.lock();
        let flights = lanes
            .iter_mut()
            .filter_map(|(shard, lane)| lane.take(*shard, check));
        flights.collect()
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

    pub(crate) fn served(&self, journal: &Journal) {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get_mut(&journal.shard)
            && lane.epoch == journal.epoch
            && lane.state == State::Asked
        {
            lane.state = State::Behind;
            drop(lanes);
            self.news.notify_one();
        }
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
    pub(crate) fn rewrite(&self, journal: &Journal, floor: Epoch, record: Vec<Vec<Change>>) {
        let mut lanes = self.lanes.lock();
        let lane = lanes.get_mut(&journal.shard);
        let Some(lane) =
            lane.filter(|lane| lane.epoch == journal.epoch && lane.state == State::Asked)
        else {
            return;
        };
        let entry = |changes| Entry {
            changes,
            told: None,
        };
        let whole = std::iter::once(vec![Change::Whole]);
        let mut all: Vec<_> = record.into_iter().chain(whole).map(entry).collect();
        lane.bytes += all.iter().map(|entry| size(&entry.changes)).sum::<usize>();
        all.append(&mut lane.waiting);
        lane.waiting = all;
        lane.state = State::Claiming { floor };
        drop(lanes);
        self.news.notify_one();
    }

    /// Records that are to be claimed anew, with their floors.
    pub(crate) fn to_claim(&self) -> Vec<(ShardId, Epoch, Epoch)> {
        let lanes = self.lanes.lock();
        let claiming = lanes.iter().filter_map(|(shard, lane)| match lane.state {
            State::Claiming { floor } => Some((*shard, lane.epoch, floor)),
            _ => None,
        });
        claiming.collect()
    }

    /// A record was claimed anew: groups are counted from 1.
    pub(crate) fn claimed(&self, shard: ShardId, epoch: Epoch) {
        if let Some(lane) = self.lanes.lock().get_mut(&shard)
            && lane.epoch == epoch
        {
            (lane.state, lane.stored) = (State::Open, 0);
        }
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

    /// A group has come to its end.
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
                self.return_behind(group, told);
                None
            }
        }
    }

    fn stored(&self, group: &Group) {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get_mut(&group.shard)
            && lane.epoch == group.epoch
        {
            (lane.stored, lane.flying) = (group.number, false);
            if lane.closed && lane.waiting.is_empty() {
                lanes.remove(&group.shard);
            }
        }
    }

    /// What was to be written waits again, behind all of the shard.
    fn return_behind(&self, group: Group, told: Vec<Told>) {
        let mut lanes = self.lanes.lock();
        let lane = lanes.get_mut(&group.shard);
        let Some(lane) = lane.filter(|lane| lane.epoch == group.epoch) else {
            return;
        };
        if lane.closed {
            // Nobody is left who could say all of it.
            if let Some(gone) = lanes.remove(&group.shard) {
                gone.refuse(Unwritten::Closed);
            }
            return;
        }
        (lane.state, lane.flying) = (State::Behind, false);
        lane.bytes += size(&group.changes);
        let mut told = told.into_iter();
        let first = Entry {
            changes: group.changes,
            told: told.next(),
        };
        let others = told.map(|told| Entry {
            changes: Vec::new(),
            told: Some(told),
        });
        lane.waiting
            .splice(0..0, std::iter::once(first).chain(others));
        drop(lanes);
        self.news.notify_one();
    }

    /// The store does not answer, or does again. Who waits while it does not is told so.
    pub(crate) fn set_lost(&self, lost: bool, flights: &mut [Flight]) {
        self.lost.store(lost, Ordering::Release);
        if !lost {
            return;
        }
        let mut waiting: Vec<_> = flights
            .iter_mut()
            .flat_map(|flight| flight.told.drain(..))
            .collect();
        for lane in self.lanes.lock().values_mut() {
            waiting.extend(
                lane.waiting
                    .iter_mut()
                    .filter_map(|entry| entry.told.take()),
            );
        }
        tell(waiting, Err(Unwritten::Lost));
    }
}

fn tell(waiting: impl IntoIterator<Item = Told>, what: Result<(), Unwritten>) {
    for told in waiting {
        // Who does not wait any more need not hear it.
        let _ = told.send(what);
    }
}

/// Roughly the bytes of changes.
fn size(changes: &[Change]) -> usize {
    let of = |change: &Change| match change {
        Change::Session(_, record) | Change::Tails(record) => record.len(),
        Change::Said(_, said) => said.message.len(),
        _ => 0,
    };
    changes.iter().map(|change| of(change) + 64).sum()
}
