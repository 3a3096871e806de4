//! Whether workers that fell silent are believed to be dead. Where most of them do so together,
//! the controller may be cut off itself from workers that serve on (ADR 0027).

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::Owner;

use crate::fleet::{Fleet, Life};
use crate::visit::PROBE;
use crate::watcher::REST;

/// Workers that fell silent within this time did so together. One that was never heard is not
/// found dead before half of it.
const TOGETHER: Duration = Duration::from_secs(8);
/// So long after one is heard again all are that can be: each was probed twice.
const OTHERS: Duration = PROBE.saturating_add(REST).saturating_mul(2);
/// For so long silence is doubted where somebody reports who could take the shards, and none of
/// those that are held is heard again. Three seconds of silence and up to two of probes come
/// before: a node with most of the workers is made up for within ten.
const LONGEST: Duration = Duration::from_secs(4);

/// Who is silent, and whether that is believed to be death.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Those that do not report and are not dead beyond doubt.
    quiet: BTreeMap<Owner, Quiet>,
    doubt: Option<Doubt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quiet {
    since: Duration,
    /// It is dead, and its shards are given to others.
    is_believed: bool,
}

/// The controller may be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Doubt {
    since: Duration,
    /// For a time nobody reported at all. Then whoever does first would be given everything.
    was_alone: bool,
    /// When somebody was heard again.
    heard: Option<Duration>,
}

impl Hold {
    /// Takes in who reports now. Who came and went between two looks is not seen.
    pub fn look(&mut self, fleet: &Fleet, now: Duration) {
        let is_back = self.is_back(fleet);
        self.quiet.retain(|owner, _| fleet.is_unheard(owner));
        for owner in fleet.unheard() {
            self.quiet.entry(owner.clone()).or_insert(Quiet {
                since: now,
                is_believed: false,
            });
        }
        let doubt = self.doubt.or_else(|| self.begun(fleet, now));
        self.doubt = doubt.and_then(|doubt| self.lasting(doubt, is_back, fleet, now));
        if self.doubt.is_none() {
            self.believe(fleet);
        }
    }

    /// Whether silent workers keep their shards for now.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.doubt.is_some()
    }

    /// Whether `owner`, which is silent, keeps its shards for now.
    #[must_use]
    pub fn holds(&self, owner: &Owner) -> bool {
        let quiet = self.quiet.get(owner);
        self.is_on() && quiet.is_some_and(|quiet| !quiet.is_believed)
    }

    /// Whether `owner` lives. Of one that is held only its silence is known.
    #[must_use]
    pub fn life(&self, fleet: &Fleet, owner: &Owner) -> Life {
        match fleet.is_silent(owner) && self.holds(owner) {
            true => Life::Suspect,
            false => fleet.life(owner),
        }
    }

    /// Whether one that is held reports again, or its next life does.
    fn is_back(&self, fleet: &Fleet) -> bool {
        let lives = |owner: &Owner| {
            let latest = fleet.named(&owner.worker);
            latest.is_some_and(|(_, member)| member.life == Life::Alive)
        };
        self.quiet
            .keys()
            .any(|owner| self.holds(owner) && lives(owner))
    }

    /// The doubt that begins now, if one does: somebody was found dead by silence, and nobody
    /// reports, or most of those who did are silent.
    fn begun(&self, fleet: &Fleet, now: Duration) -> Option<Doubt> {
        let begins = self.has_silent(fleet) && (is_alone(fleet) || self.are_most(fleet, now));
        begins.then_some(Doubt {
            since: now,
            was_alone: false,
            heard: None,
        })
    }

    /// Whether there is somebody to hold.
    fn has_silent(&self, fleet: &Fleet) -> bool {
        let mut quiet = self.quiet.iter();
        quiet.any(|(owner, quiet)| !quiet.is_believed && fleet.is_silent(owner))
    }

    /// Whether two or more fell silent together, and more than half of all. Those count whom
    /// nobody has found dead yet: else the first ones would be given up before the last. Who
    /// has only just joined is not silent.
    fn are_most(&self, fleet: &Fleet, now: Duration) -> bool {
        let missed = self
            .quiet
            .iter()
            .filter(|(owner, _)| fleet.has_missed(owner));
        let together = missed.filter(|(_, quiet)| quiet.is_recent(now)).count();
        together > 1 && together > fleet.living().count()
    }

    /// The doubt as it is now, unless it is over.
    fn lasting(&self, doubt: Doubt, is_back: bool, fleet: &Fleet, now: Duration) -> Option<Doubt> {
        let is_alone = is_alone(fleet);
        let was_alone = doubt.was_alone || is_alone;
        let is_heard = is_back || (was_alone && !is_alone);
        let heard = doubt.heard.or_else(|| is_heard.then_some(now));
        let heard = heard.filter(|_| !is_alone);
        let had_time = heard.is_some_and(|heard| now.saturating_sub(heard) >= OTHERS);
        let may_be_long = !was_alone && heard.is_none();
        let is_long = may_be_long && now.saturating_sub(doubt.since) >= LONGEST;
        let is_over = had_time || is_long || !self.is_waited_for(fleet, now);
        (!is_over).then_some(Doubt {
            was_alone,
            heard,
            ..doubt
        })
    }

    /// Whether anybody is held, or may be found dead by the same silence.
    fn is_waited_for(&self, fleet: &Fleet, now: Duration) -> bool {
        let may_be = |quiet: &Quiet| !quiet.is_believed && quiet.is_recent(now);
        self.has_silent(fleet) || self.quiet.values().any(may_be)
    }

    /// Silence is death now.
    fn believe(&mut self, fleet: &Fleet) {
        for (owner, quiet) in &mut self.quiet {
            quiet.is_believed |= fleet.is_silent(owner);
        }
    }
}

impl Quiet {
    fn is_recent(self, now: Duration) -> bool {
        now.saturating_sub(self.since) < TOGETHER
    }
}

/// Whether nobody reports.
fn is_alone(fleet: &Fleet) -> bool {
    fleet.living().next().is_none()
}
