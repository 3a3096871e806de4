//! What waits to be stored of one shard.

use std::time::Duration;

use hexagram_core::{Epoch, ShardId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::record::{Change, Group};
use crate::store::Mark;
use crate::unwritten::Unwritten;

/// Bytes of one group, unless a single entry has more: one script is not to keep others
/// waiting for long.
const GROUP_BYTES: usize = 256 << 10;
/// Bytes that wait for one shard while the store is away; beyond, the shard is written
/// anew once it is back.
const LANE_BYTES: usize = 4 << 20;
/// A shard whose group or claim was refused is offered again after this, and then after
/// twice as long each time.
const FIRST_OFFER: Duration = Duration::from_millis(100);
const LAST_OFFER: Duration = Duration::from_secs(2);

pub(crate) type Told = oneshot::Sender<Result<(), Unwritten>>;

/// One shard's lane.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) epoch: Epoch,
    // Number of the last group that is stored.
    pub(crate) stored: u64,
    waiting: Vec<Entry>,
    bytes: usize,
    pub(crate) state: State,
    pub(crate) closed: bool,
    // A group is on its way.
    pub(crate) flying: bool,
    refusal: Option<Refusal>,
    // Something that waited was dropped: once the store takes groups again, all of the
    // shard is to be said.
    incomplete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Groups may be written.
    Open,
    /// The record is not what it should be; its owner is to say all of it.
    Behind,
    /// The owner was asked.
    Asked,
    /// All of it waits, to be written once the record is claimed anew.
    Claiming { floor: Epoch },
}

/// The store answers, and would not take this shard's group, or its claim.
#[derive(Debug)]
struct Refusal {
    // Offered again as it was: the store may have it already, under its number.
    group: Option<Group>,
    pause: Duration,
    until: Instant,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) changes: Vec<Change>,
    pub(crate) told: Option<Told>,
}

/// A group on its way, and who waits for it.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) group: Group,
    pub(crate) told: Vec<Told>,
}

impl Lane {
    pub(crate) fn new(epoch: Epoch, state: State) -> Self {
        Self {
            epoch,
            stored: 0,
            waiting: Vec::new(),
            bytes: 0,
            state,
            closed: false,
            flying: false,
            refusal: None,
            incomplete: false,
        }
    }

    /// How far the record is written, if all that was handed in is stored.
    pub(crate) fn settled(&self) -> Option<Mark> {
        let is_idle = self.waiting.is_empty() && !self.flying;
        let is_taken = self.refusal.is_none() && !self.incomplete;
        self.written().filter(|_| is_idle && is_taken)
    }

    /// How far the record is written at least, where it is this owner's: more may be on its
    /// way.
    pub(crate) fn written(&self) -> Option<Mark> {
        (self.state == State::Open).then_some(Mark {
            epoch: self.epoch,
            number: self.stored,
        })
    }

    /// Whether nothing waits that could be written.
    pub(crate) fn is_over(&self) -> bool {
        self.closed && (self.waiting.is_empty() || self.state != State::Open || self.incomplete)
    }

    /// Takes changes in; gives who is to be told at once that the store does not take them.
    pub(crate) fn push(
        &mut self,
        changes: Vec<Change>,
        told: Option<Told>,
        lost: bool,
    ) -> Option<Told> {
        let lost = lost || self.refusal.is_some();
        self.bytes += size(&changes);
        let (told, refused) = if lost { (None, told) } else { (told, None) };
        self.waiting.push(Entry { changes, told });
        if self.bytes > LANE_BYTES && lost {
            self.overflow();
        }
        refused
    }

    /// Drops what waits: it is to be written anew as a whole.
    fn overflow(&mut self) {
        match (self.state, &self.refusal) {
            // Asked to say all of it now, its owner would say it in vain.
            (_, Some(_)) => self.incomplete = true,
            (State::Open | State::Claiming { .. }, None) => self.state = State::Behind,
            (State::Behind | State::Asked, None) => {}
        }
        tell(self.waiters(), Err(Unwritten::Lost));
        self.waiting.clear();
        self.bytes = 0;
    }

    /// Puts all of the shard before what waits.
    pub(crate) fn rewrite(&mut self, floor: Epoch, record: Vec<Vec<Change>>) {
        let entry = |changes| Entry {
            changes,
            told: None,
        };
        let whole = std::iter::once(vec![Change::Whole]);
        let mut all: Vec<_> = record.into_iter().chain(whole).map(entry).collect();
        self.bytes += all.iter().map(|entry| size(&entry.changes)).sum::<usize>();
        all.append(&mut self.waiting);
        self.waiting = all;
        self.incomplete = false;
        self.state = State::Claiming { floor };
    }

    /// Takes the next group out, as large as one may be; `check`: one without changes too.
    /// One that was refused is next when it is time.
    pub(crate) fn take(&mut self, shard: ShardId, check: bool, now: Instant) -> Option<Flight> {
        if self.state != State::Open || self.offer_at().is_some_and(|at| at > now) {
            return None;
        }
        let again = self.refusal.as_ref();
        if let Some(group) = again.and_then(|refusal| refusal.group.clone()) {
            self.flying = true;
            return Some(Flight {
                group,
                told: Vec::new(),
            });
        }
        let check = check || self.refusal.is_some();
        let is_due = !self.waiting.is_empty() || (check && !self.closed);
        is_due.then(|| self.group(shard))
    }

    fn group(&mut self, shard: ShardId) -> Flight {
        let (mut taken, mut bytes) = (0, 0);
        for entry in &self.waiting {
            let more = size(&entry.changes);
            if taken > 0 && bytes + more > GROUP_BYTES {
                break;
            }
            bytes += more;
            taken += 1;
        }
        self.bytes -= bytes;
        let (mut changes, mut told) = (Vec::new(), Vec::new());
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
        Flight { group, told }
    }

    /// A group is stored; gives whether the store had refused it before.
    pub(crate) fn stored(&mut self, number: u64) -> bool {
        (self.stored, self.flying) = (number, false);
        if std::mem::take(&mut self.incomplete) {
            self.state = State::Behind;
        }
        self.refusal.take().is_some()
    }

    /// The record was claimed anew: groups are counted from 1.
    pub(crate) fn claimed(&mut self) {
        (self.stored, self.refusal) = (0, None);
        self.state = match std::mem::take(&mut self.incomplete) {
            true => State::Behind,
            false => State::Open,
        };
    }

    /// The store does not take a group, or a claim where there is none; gives whether it
    /// was refused for the first time. Who waits is told that it is not stored.
    pub(crate) fn refused(&mut self, group: Option<Group>, now: Instant) -> bool {
        self.flying = false;
        let before = self.refusal.take().map(|refusal| refusal.pause);
        let pause = before.map_or(FIRST_OFFER, |pause| (pause * 2).min(LAST_OFFER));
        self.refusal = Some(Refusal {
            group: group.filter(|group| !group.changes.is_empty()),
            pause,
            until: now + pause,
        });
        tell(self.waiters(), Err(Unwritten::Lost));
        before.is_none()
    }

    /// When what was refused is to be offered again.
    pub(crate) fn offer_at(&self) -> Option<Instant> {
        let waits = matches!(self.state, State::Open | State::Claiming { .. });
        let refusal = self.refusal.as_ref().filter(|_| waits);
        refusal.map(|refusal| refusal.until)
    }

    /// What was to be written waits again, behind all of the shard.
    pub(crate) fn return_behind(&mut self, group: Group, told: Vec<Told>) {
        (self.state, self.flying) = (State::Behind, false);
        (self.refusal, self.incomplete) = (None, false);
        self.bytes += size(&group.changes);
        let mut told = told.into_iter();
        let first = Entry {
            changes: group.changes,
            told: told.next(),
        };
        let others = told.map(|told| Entry {
            changes: Vec::new(),
            told: Some(told),
        });
        self.waiting
            .splice(0..0, std::iter::once(first).chain(others));
    }

    /// Who waits for what waits; they are not told again.
    pub(crate) fn waiters(&mut self) -> Vec<Told> {
        let waiting = self.waiting.iter_mut();
        waiting.filter_map(|entry| entry.told.take()).collect()
    }

    /// The lane is over.
    pub(crate) fn refuse(mut self, why: Unwritten) {
        tell(self.waiters(), Err(why));
    }
}

pub(crate) fn tell(waiting: impl IntoIterator<Item = Told>, what: Result<(), Unwritten>) {
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
