//! One shard's record in memory, and the rules of claims and groups. `redis_store/*.lua` says
//! the same for Redis; a test holds the two together.

use std::collections::BTreeMap;

use bytes::Bytes;
use hexagram_core::{Epoch, EventId, SessionKey};
use tokio::time::Instant;

use crate::claim_ids::ClaimId;
use crate::record::{Change, DeadChunk, Group, Record, SAID_KEPT, Said};
use crate::store::{Claim, ClaimMode, Claimed, Mark, Wrote};

/// Who owns the record, and how far it is written.
#[derive(Clone, Debug)]
struct Head {
    epoch: Epoch,
    floor: Epoch,
    claim: ClaimId,
    /// The last group since the claim.
    number: u64,
    /// Nothing is missing from it.
    whole: bool,
    /// It began empty in this epoch and nothing was written yet.
    fresh: bool,
}

/// A record and its head. Ordered, so that a simulation loads it in the same order always.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    head: Head,
    tails: Bytes,
    dead: BTreeMap<(Epoch, u64), DeadChunk>,
    sessions: BTreeMap<SessionKey, Bytes>,
    said: BTreeMap<SessionKey, Sayings>,
    swept: Instant,
}

/// What one session's streams have said.
#[derive(Clone, Debug)]
struct Sayings {
    until: Instant,
    messages: BTreeMap<EventId, Bytes>,
}

impl Kept {
    /// Whether it says all that its owner would say.
    pub(super) fn is_whole(&self) -> bool {
        self.head.whole
    }

    /// Claims the record that is there, if any.
    pub(super) fn claim(
        kept: &mut Option<Self>,
        claim: Claim,
        id: ClaimId,
        now: Instant,
    ) -> Claimed {
        let head = kept.as_ref().map(|kept| &kept.head);
        match judge_claim(head, claim, id) {
            Ok((head, Beginning::AsItWas)) => {
                let known = !head.fresh;
                let floor = head.floor;
                let before = kept
                    .as_mut()
                    .map(|kept| std::mem::replace(&mut kept.head, head));
                let left = before.filter(|_| known).map(|before| Mark {
                    epoch: before.epoch,
                    number: before.number,
                });
                Claimed::Yours { floor, known, left }
            }
            Ok((head, Beginning::Empty)) => {
                let floor = head.floor;
                *kept = Some(Self::empty(head, now));
                Claimed::Yours {
                    floor,
                    known: false,
                    left: None,
                }
            }
            Err(later) => Claimed::Fenced(later),
        }
    }

    /// Writes a group.
    pub(super) fn write(
        kept: Option<&mut Self>,
        group: &Group,
        id: ClaimId,
        now: Instant,
    ) -> Wrote {
        let Some(kept) = kept else {
            return Wrote::Behind;
        };
        match judge_group(&kept.head, group, id) {
            Judgement::Apply => {
                kept.apply(group, now);
                Wrote::Stored
            }
            Judgement::Answer(wrote) => wrote,
        }
    }

    /// The record as its owner reads it.
    pub(super) fn record(&self, now: Instant) -> Record {
        let spoken = self.said.iter().filter(|(_, sayings)| sayings.until > now);
        Record {
            tails: self.tails.clone(),
            dead: self.dead.values().cloned().collect(),
            sessions: self
                .sessions
                .iter()
                .map(|(key, bytes)| (*key, bytes.clone()))
                .collect(),
            said: spoken
                .flat_map(|(key, sayings)| sayings.read().map(|said| (*key, said)))
                .collect(),
        }
    }

    fn empty(head: Head, now: Instant) -> Self {
        Self {
            head,
            tails: Bytes::new(),
            dead: BTreeMap::new(),
            sessions: BTreeMap::new(),
            said: BTreeMap::new(),
            swept: now,
        }
    }

    fn apply(&mut self, group: &Group, now: Instant) {
        self.head.number = group.number;
        self.head.fresh = false;
        for change in &group.changes {
            self.change(change, now);
        }
        self.sweep(now);
    }

    fn change(&mut self, change: &Change, now: Instant) {
        match change {
            Change::Session(key, bytes) => {
                self.sessions.insert(*key, bytes.clone());
            }
            Change::Forget(key) => {
                self.sessions.remove(key);
                self.said.remove(key);
            }
            Change::Dead(chunk) => {
                self.dead.insert((chunk.epoch, chunk.number), chunk.clone());
            }
            Change::Undead(epoch, number) => {
                self.dead.remove(&(*epoch, *number));
            }
            Change::Said(key, said) => self.say(*key, said, now),
            Change::Unsaid(key, id) => {
                if let Some(sayings) = self.said.get_mut(key) {
                    sayings.messages.remove(id);
                }
            }
            Change::Tails(bytes) => self.tails = bytes.clone(),
            Change::Whole => self.head.whole = true,
        }
    }

    fn say(&mut self, key: SessionKey, said: &Said, now: Instant) {
        let until = now + SAID_KEPT;
        if self
            .said
            .get(&key)
            .is_some_and(|sayings| sayings.until <= now)
        {
            self.said.remove(&key);
        }
        let sayings = self.said.entry(key).or_insert_with(|| Sayings {
            until,
            messages: BTreeMap::new(),
        });
        sayings.until = until;
        sayings.messages.insert(said.id, said.message.clone());
    }

    /// Drops what nobody will ask for, from time to time.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= SAID_KEPT {
            self.swept = now;
            self.said
                .retain(|_, sayings| sayings.until > now && !sayings.messages.is_empty());
        }
    }
}

impl Sayings {
    fn read(&self) -> impl Iterator<Item = Said> {
        self.messages.iter().map(|(id, message)| Said {
            id: *id,
            message: message.clone(),
        })
    }
}

/// What a claimant finds.
enum Beginning {
    AsItWas,
    Empty,
}

/// The head after a claim, or the later epoch that refuses it.
fn judge_claim(head: Option<&Head>, claim: Claim, id: ClaimId) -> Result<(Head, Beginning), Epoch> {
    if let Some(head) = head.filter(|head| head.epoch > claim.epoch) {
        return Err(head.epoch);
    }
    let empty = |floor, whole| Head {
        epoch: claim.epoch,
        floor,
        claim: id,
        number: 0,
        whole,
        fresh: true,
    };
    Ok(match (claim.mode, head) {
        (ClaimMode::Keep, Some(head)) if head.whole => {
            let again = Head {
                epoch: claim.epoch,
                claim: id,
                number: 0,
                fresh: head.fresh && head.epoch == claim.epoch,
                ..*head
            };
            (again, Beginning::AsItWas)
        }
        (ClaimMode::Keep, _) => (empty(claim.epoch, true), Beginning::Empty),
        (ClaimMode::Rewrite { floor }, _) => (empty(floor, false), Beginning::Empty),
    })
}

enum Judgement {
    Apply,
    Answer(Wrote),
}

/// Whether a group is to be applied.
fn judge_group(head: &Head, group: &Group, id: ClaimId) -> Judgement {
    let wrote = if head.epoch > group.epoch {
        Wrote::Fenced(head.epoch)
    } else if head.epoch < group.epoch || head.claim != id {
        Wrote::Behind
    } else if group.number <= head.number {
        Wrote::Stored
    } else if group.number - 1 == head.number && !group.changes.is_empty() {
        return Judgement::Apply;
    } else {
        Wrote::Behind
    };
    Judgement::Answer(wrote)
}
