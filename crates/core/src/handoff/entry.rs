//! What the register says of one shard, and the only ways in which that changes.

use thiserror::Error;

use crate::Epoch;

/// A planned move: the next owner and the epoch reserved for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plan<O> {
    /// Who is to own the shard.
    pub to: O,
    /// The epoch in which it will.
    pub epoch: Epoch,
}

/// The register's entry of one shard. Its epoch only grows (invariant I4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry<O> {
    owner: O,
    epoch: Epoch,
    plan: Option<Plan<O>>,
    // Nobody is to serve the shard: it cost its owners their lives.
    quarantined: bool,
    // The highest epoch ever given or reserved. A reservation is never used
    // again: its taker may be serving in it unheard.
    spent: Epoch,
}

/// A change of an entry that was refused; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    /// The shard is where it is to go.
    #[error("the shard is there already")]
    Owner,
    /// Another move has not ended.
    #[error("the shard is moving already: wait for the end of that move")]
    Moving,
    /// Nobody is to serve it.
    #[error("the shard is in quarantine")]
    Quarantined,
    /// There is no such move to abort.
    #[error("no move with epoch {0} is planned")]
    NotPlanned(Epoch),
    /// Something newer is known.
    #[error("epoch {0} is over")]
    Stale(Epoch),
    /// An epoch that nobody was given.
    #[error("epoch {0} was never given to that worker")]
    NeverGiven(Epoch),
    /// There is no number left.
    #[error("the shard has no epoch left")]
    Exhausted,
}

impl<O: Clone + PartialEq> Entry<O> {
    /// A shard that belongs to `owner`.
    pub fn new(owner: O, epoch: Epoch) -> Self {
        Self {
            owner,
            epoch,
            plan: None,
            quarantined: false,
            spent: epoch,
        }
    }

    /// The entry as a register stored it; `None` where the numbers contradict
    /// each other.
    pub fn restore(owner: O, epoch: Epoch, plan: Option<Plan<O>>, spent: Epoch) -> Option<Self> {
        let planned = plan.as_ref().map_or(epoch, |plan| plan.epoch);
        let sound = planned >= epoch
            && spent >= planned
            && plan.as_ref().is_none_or(|plan| plan.epoch > epoch);
        sound.then_some(Self {
            owner,
            epoch,
            plan,
            quarantined: false,
            spent,
        })
    }

    /// The entry, in quarantine or not, as a register stored it; `None` where it
    /// contradicts itself.
    pub fn restore_quarantine(self, quarantined: bool) -> Option<Self> {
        let sound = !quarantined || self.plan.is_none();
        sound.then_some(Self {
            quarantined,
            ..self
        })
    }

    /// Who may serve the shard.
    pub const fn owner(&self) -> &O {
        &self.owner
    }

    /// The epoch in which the owner may.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The move under way.
    pub const fn plan(&self) -> Option<&Plan<O>> {
        self.plan.as_ref()
    }

    /// Whether nobody is to serve the shard, not even its owner.
    pub const fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// The highest epoch ever given or reserved.
    pub const fn spent(&self) -> Epoch {
        self.spent
    }

    /// Plans a move, with an epoch that nobody was given before.
    ///
    /// # Errors
    /// If the shard is moving, in quarantine, there already, or has no epoch left.
    pub fn move_to(&self, to: O) -> Result<Self, EntryError> {
        if self.quarantined {
            return Err(EntryError::Quarantined);
        }
        if self.plan.is_some() {
            return Err(EntryError::Moving);
        }
        if self.owner == to {
            return Err(EntryError::Owner);
        }
        let epoch = self.spent.next().ok_or(EntryError::Exhausted)?;
        Ok(Self {
            plan: Some(Plan { to, epoch }),
            spent: epoch,
            ..self.clone()
        })
    }

    /// Gives a move up. Its epoch stays burnt.
    ///
    /// # Errors
    /// If no move with this epoch is planned.
    pub fn abort(&self, epoch: Epoch) -> Result<Self, EntryError> {
        match &self.plan {
            Some(plan) if plan.epoch == epoch => Ok(Self {
                plan: None,
                ..self.clone()
            }),
            _ => Err(EntryError::NotPlanned(epoch)),
        }
    }

    /// Records that `owner` serves the shard in `epoch`, as it reports. A taker
    /// whose move was given up too late is believed too: its epoch was reserved
    /// for it alone, and who granted it serves no more.
    ///
    /// # Errors
    /// If a later epoch is on record, or this one was not reserved for `owner`.
    pub fn commit(&self, owner: &O, epoch: Epoch) -> Result<Self, EntryError> {
        if epoch < self.epoch || (epoch == self.epoch && *owner != self.owner) {
            return Err(EntryError::Stale(epoch));
        }
        let another = |plan: &Plan<O>| plan.epoch == epoch && plan.to != *owner;
        let withheld = self.quarantined && epoch == self.epoch;
        if withheld || epoch > self.spent || self.plan.as_ref().is_some_and(another) {
            return Err(EntryError::NeverGiven(epoch));
        }
        if epoch == self.epoch {
            return Ok(self.clone());
        }
        Ok(Self {
            owner: owner.clone(),
            epoch,
            plan: None,
            quarantined: false,
            spent: self.spent,
        })
    }

    /// Gives the shard to `to` without its owner's help, above every epoch that
    /// somebody may be serving in.
    ///
    /// # Errors
    /// If the shard has no epoch left.
    pub fn fail_over(&self, to: O) -> Result<Self, EntryError> {
        let epoch = self.spent.next().ok_or(EntryError::Exhausted)?;
        Ok(Self::new(to, epoch))
    }

    /// Takes the shard from everybody, above every epoch that somebody may be
    /// serving in. [`fail_over`](Self::fail_over) ends it.
    ///
    /// # Errors
    /// If the shard has no epoch left.
    pub fn quarantine(&self) -> Result<Self, EntryError> {
        let quarantined = true;
        Ok(Self {
            quarantined,
            ..self.fail_over(self.owner.clone())?
        })
    }

    /// Takes notice of an epoch that is in use although this register does not
    /// know it: it was lost or rolled back (DESIGN 6). Later epochs go above it.
    #[must_use]
    pub fn above(&self, seen: Epoch) -> Self {
        Self {
            spent: self.spent.max(seen),
            ..self.clone()
        }
    }
}
