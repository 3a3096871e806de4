//! What one shard's entry must become for what its workers report.

use hexagram_core::{Entry, EntryError, Epoch, Owner, ShardId};
use hexagram_proto::admin::Phase;

use super::{View, Why};
use crate::fleet::{Held, Life};

/// What there is to do for a shard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Sound,
    /// This.
    Change(Entry<Owner>, Why),
    /// Its owner is dead and nobody else has a claim on it.
    Orphan,
}

pub(super) fn heal(shard: ShardId, entry: &Entry<Owner>, view: &View<'_>) -> Verdict {
    // First of all: no epoch below those in use is given away (DESIGN 6).
    let raised = view.raised(shard, entry);
    let case = Case {
        shard,
        entry: &raised,
        view,
    };
    let verdict = case
        .served()
        .or_else(|| case.planned())
        .or_else(|| case.owned());
    match verdict {
        Some(verdict) => verdict,
        None if raised != *entry => Verdict::Change(raised, Why::Behind),
        None => Verdict::Sound,
    }
}

struct Case<'a> {
    shard: ShardId,
    entry: &'a Entry<Owner>,
    view: &'a View<'a>,
}

impl Case<'_> {
    fn held(&self, owner: &Owner) -> Option<Held> {
        self.view.fleet.held(owner, self.shard)
    }

    /// The living worker that holds the shard in the highest epoch from `least` on,
    /// among those in one of `phases`.
    fn holder(&self, least: Epoch, phases: &[Phase]) -> Option<(Owner, Epoch)> {
        let holds = self.view.fleet.living().filter_map(|(owner, _)| {
            let held = self.held(owner)?;
            let epoch = held.epoch.filter(|epoch| *epoch >= least)?;
            phases.contains(&held.phase).then(|| (owner.clone(), epoch))
        });
        holds.max_by_key(|(_, epoch)| *epoch)
    }

    /// Somebody else than the owner serves.
    fn served(&self) -> Option<Verdict> {
        let (server, epoch) = self.holder(self.entry.epoch(), &[Phase::Serving])?;
        if server == *self.entry.owner() && epoch == self.entry.epoch() {
            return None;
        }
        Some(match self.entry.commit(&server, epoch) {
            Ok(entry) => Verdict::Change(entry, Why::Committed),
            // Only a register that was rolled back disagrees with who serves: an
            // epoch above settles it, in favour of whoever the register knows.
            Err(EntryError::Stale(_)) => self.give(self.entry.owner()),
            Err(_) => self.give(&server),
        })
    }

    /// A move is planned: who may end it?
    fn planned(&self) -> Option<Verdict> {
        let plan = self.entry.plan()?;
        let giver = self.held(self.entry.owner());
        let aborted = || {
            let entry = self.entry.abort(plan.epoch).ok()?;
            Some(Verdict::Change(entry, Why::Aborted))
        };
        if giver.is_some_and(|held| held.resumed == Some(plan.epoch)) {
            return aborted();
        }
        let granted = |held: Held| held.phase == Phase::Granted;
        match (self.view.life(self.entry.owner()), self.view.life(&plan.to)) {
            // Only the giver knows whether a taker that may live was granted it.
            (Life::Alive | Life::Suspect, Life::Alive | Life::Suspect)
            | (Life::Dead, Life::Suspect) => None,
            // Only the taker may have the state.
            (Life::Dead, Life::Alive) => Some(self.give(&plan.to)),
            // Only the giver still has it.
            (Life::Alive, Life::Dead) if giver.is_some_and(granted) => {
                Some(self.give(self.entry.owner()))
            }
            (Life::Alive, Life::Dead) if giver.is_some() => aborted(),
            // What a silent giver did is not known yet.
            (Life::Alive | Life::Suspect, Life::Dead) => None,
            (Life::Dead, Life::Dead) => Some(self.orphan()),
        }
    }

    /// No move is planned: may the owner serve?
    fn owned(&self) -> Option<Verdict> {
        let owner = self.entry.owner();
        match self.view.life(owner) {
            _ if self.entry.plan().is_some() || self.entry.is_quarantined() => None,
            Life::Suspect => None,
            Life::Dead => Some(self.orphan()),
            Life::Alive => self.is_stuck(self.held(owner)?).then(|| self.give(owner)),
        }
    }

    /// Whether the owner will never serve in the entry's epoch: it gave the shard
    /// away in a later one, or heard of one, and nobody took it.
    fn is_stuck(&self, held: Held) -> bool {
        let over = match held.phase {
            Phase::Granted => held.epoch > Some(self.entry.epoch()),
            Phase::Absent => held.spent > Some(self.entry.epoch()),
            _ => false,
        };
        over && self.heir().is_none()
    }

    /// Who is taking the shard although no plan says so: its move was given up
    /// too late, or the register lost it.
    fn heir(&self) -> Option<Owner> {
        let after = self.entry.epoch().next()?;
        self.holder(after, &[Phase::Claiming, Phase::Frozen])
            .map(|(owner, _)| owner)
    }

    /// Nobody whom the entry names lives.
    fn orphan(&self) -> Verdict {
        let after = self.entry.epoch().next();
        let granted = || {
            self.holder(after?, &[Phase::Granted])
                .map(|(owner, _)| owner)
        };
        match self.heir().or_else(granted) {
            Some(heir) => self.give(&heir),
            None => Verdict::Orphan,
        }
    }

    fn give(&self, to: &Owner) -> Verdict {
        match self.entry.fail_over(to.clone()) {
            Ok(entry) => Verdict::Change(entry, Why::FailedOver),
            Err(error) => {
                tracing::error!(shard = %self.shard, %error, "the shard cannot be given away");
                Verdict::Sound
            }
        }
    }
}
