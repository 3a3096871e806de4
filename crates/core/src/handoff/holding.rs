//! What one worker may do with one shard.

use thiserror::Error;

use super::Plan;
use crate::Epoch;

/// Where a worker stands with a shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase<O> {
    /// It does not serve the shard.
    Absent,
    /// It may serve once the store knows its epoch.
    Claiming(Epoch),
    /// It serves.
    Serving(Epoch),
    /// It admits nothing and may still resume.
    Frozen {
        /// The epoch it served in.
        epoch: Epoch,
        /// The move under way.
        plan: Plan<O>,
    },
    /// It has given the shard away for good and keeps the frozen state until
    /// the taker has it.
    Granted(Plan<O>),
}

/// A worker's part in a shard's life. It uses no epoch twice, in any role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holding<O> {
    phase: Phase<O>,
    // The highest epoch that this worker served, froze for, or heard to be
    // another's.
    spent: Option<Epoch>,
}

/// What a worker may not do; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HoldingError {
    /// The epoch was used, or a later one is known.
    #[error("epoch {0} is over here")]
    Spent(Epoch),
    /// The worker does not serve the shard.
    #[error("this worker does not serve the shard")]
    NotServing,
    /// The worker is at another step.
    #[error("the shard is not frozen here")]
    NotFrozen,
}

impl<O> Default for Holding<O> {
    fn default() -> Self {
        Self {
            phase: Phase::Absent,
            spent: None,
        }
    }
}

impl<O: Clone> Holding<O> {
    /// Where the worker stands.
    pub const fn phase(&self) -> &Phase<O> {
        &self.phase
    }

    /// The epoch in which messages are admitted now.
    pub const fn serving(&self) -> Option<Epoch> {
        match self.phase {
            Phase::Serving(epoch) => Some(epoch),
            _ => None,
        }
    }

    /// The highest epoch used or heard of here.
    pub const fn spent(&self) -> Option<Epoch> {
        self.spent
    }

    /// The shard is given to this worker, by the register or by a grant: it is
    /// to claim `epoch` in the store.
    ///
    /// # Errors
    /// If the epoch is over.
    pub fn claim(&mut self, epoch: Epoch) -> Result<(), HoldingError> {
        self.spend(epoch)?;
        self.phase = Phase::Claiming(epoch);
        Ok(())
    }

    /// The store knows: the worker serves.
    ///
    /// # Errors
    /// If something newer came in between.
    pub fn activate(&mut self, epoch: Epoch) -> Result<(), HoldingError> {
        if !matches!(self.phase, Phase::Claiming(claimed) if claimed == epoch) {
            return Err(HoldingError::Spent(epoch));
        }
        self.phase = Phase::Serving(epoch);
        Ok(())
    }

    /// Stops admitting for a planned move. The plan's epoch is used up: after
    /// [`resume`](Self::resume) the next plan needs another.
    ///
    /// # Errors
    /// If the worker does not serve, or the plan is an old one.
    pub fn freeze(&mut self, plan: Plan<O>) -> Result<(), HoldingError> {
        let epoch = self.serving().ok_or(HoldingError::NotServing)?;
        self.spend(plan.epoch)?;
        self.phase = Phase::Frozen { epoch, plan };
        Ok(())
    }

    /// Takes no part in a planned move: its epoch is used up, and nothing else
    /// changes.
    ///
    /// # Errors
    /// If the plan is an old one.
    pub fn decline(&mut self, epoch: Epoch) -> Result<(), HoldingError> {
        self.spend(epoch)
    }

    /// Gives the move up and serves on, in the same epoch as before.
    ///
    /// # Errors
    /// Unless it is frozen: after the grant there is no way back (invariant I5).
    pub fn resume(&mut self) -> Result<Epoch, HoldingError> {
        let Phase::Frozen { epoch, .. } = self.phase else {
            return Err(HoldingError::NotFrozen);
        };
        self.phase = Phase::Serving(epoch);
        Ok(epoch)
    }

    /// The point of no return: from here on the worker serves no epoch up to
    /// the plan's, whatever times out.
    ///
    /// # Errors
    /// Unless it is frozen.
    pub fn grant(&mut self) -> Result<Plan<O>, HoldingError> {
        let Phase::Frozen { plan, .. } = &self.phase else {
            return Err(HoldingError::NotFrozen);
        };
        let plan = plan.clone();
        self.phase = Phase::Granted(plan.clone());
        Ok(plan)
    }

    /// The taker has the shard: nothing is kept here. Told twice, or of another
    /// move, it changes nothing.
    pub fn taken(&mut self, epoch: Epoch) -> bool {
        let given = matches!(&self.phase, Phase::Granted(plan) if plan.epoch <= epoch);
        if given {
            self.phase = Phase::Absent;
        }
        given
    }

    /// The shard is another's in `epoch`; `true` when that ends what was held here.
    pub fn superseded(&mut self, epoch: Epoch) -> bool {
        self.spent = self.spent.max(Some(epoch));
        let ends = self.reach().is_some_and(|reach| epoch >= reach);
        if ends {
            self.phase = Phase::Absent;
        }
        ends
    }

    /// The epoch from which on another's claim ends what is held here.
    fn reach(&self) -> Option<Epoch> {
        match &self.phase {
            Phase::Absent => None,
            Phase::Claiming(epoch) | Phase::Serving(epoch) | Phase::Frozen { epoch, .. } => {
                epoch.next()
            }
            Phase::Granted(plan) => Some(plan.epoch),
        }
    }

    fn spend(&mut self, epoch: Epoch) -> Result<(), HoldingError> {
        if self.spent >= Some(epoch) {
            return Err(HoldingError::Spent(epoch));
        }
        self.spent = Some(epoch);
        Ok(())
    }
}
