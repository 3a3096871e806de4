//! Workers that were lost lately: who looks at a cluster some minutes after a crash
//! is to find out that there was one.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::Owner;

use crate::decide::Hold;
use crate::fleet::{Fleet, Life};

/// A lost worker is shown for so long.
const KEPT: Duration = Duration::from_secs(600);
/// So many of them are shown, the latest ones.
const MOST: usize = 16;

/// A worker that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Where it was reached.
    pub(crate) address: String,
    /// When that was noticed, since the controller's start.
    at: Duration,
}

/// All that were lost lately, and those of earlier that the fleet remembers still.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses {
    all: BTreeMap<Owner, Loss>,
}

impl Losses {
    /// Takes note of who is dead now, before the fleet forgets them. Who was told to
    /// end is not lost, nor is who is held. Gives how many are news.
    pub(crate) fn note(&mut self, fleet: &Fleet, hold: &Hold, now: Duration) -> u64 {
        let mut news = 0;
        for (owner, member) in fleet.members() {
            if hold.life(fleet, owner) == Life::Dead && !fleet.ended(owner) {
                let loss = || Loss {
                    address: member.address.clone(),
                    at: now,
                };
                news += u64::from(!self.all.contains_key(owner));
                self.all.entry(owner.clone()).or_insert_with(loss);
            } else {
                self.all.remove(owner);
            }
        }
        // What the fleet remembers would only be noted anew.
        let known = |owner: &Owner| fleet.members().any(|(known, _)| known == owner);
        self.all
            .retain(|owner, loss| loss.is_recent(now) || known(owner));
        news
    }

    /// For how long `owner` has been lost.
    pub(crate) fn since(&self, owner: &Owner, now: Duration) -> Option<Duration> {
        let loss = self.all.get(owner)?;
        Some(now.saturating_sub(loss.at))
    }

    /// Those of late, the latest first.
    pub(crate) fn recent(&self, now: Duration) -> Vec<(&Owner, &Loss)> {
        let recent = self.all.iter().filter(|(_, loss)| loss.is_recent(now));
        let mut recent: Vec<_> = recent.collect();
        recent.sort_by_key(|(_, loss)| Reverse(loss.at));
        recent.truncate(MOST);
        recent
    }
}

impl Loss {
    fn is_recent(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < KEPT
    }
}

#[cfg(test)]
mod tests {
    use hexagram_core::{Entry, Epoch};
    use hexagram_proto::admin::Phase;

    use super::*;
    use crate::testing::{fleet, held, introduced, map, owner};

    const SECOND: Duration = Duration::from_secs(1);

    /// Nobody's silence is doubted.
    fn hold() -> Hold {
        Hold::default()
    }

    /// So many workers that live.
    fn living(workers: u8) -> Fleet {
        let owners: Vec<_> = (0..workers).map(|number| owner(number, 1)).collect();
        let held = held(Phase::Absent, 0);
        let members: Vec<_> = owners.iter().map(|owner| (owner, held)).collect();
        fleet(&members)
    }

    fn names(losses: &Losses, now: Duration) -> Vec<String> {
        let recent = losses.recent(now).into_iter();
        recent.map(|(owner, _)| owner.worker.to_string()).collect()
    }

    /// A map that names worker-0 alone.
    fn forget(fleet: &mut Fleet) {
        let entry = Entry::new(owner(0, 1), Epoch::FIRST);
        fleet.forget(&map(1, vec![entry]));
    }

    #[test]
    fn the_lost_are_shown_for_ten_minutes_the_latest_first() {
        let (mut fleet, mut losses) = (living(4), Losses::default());
        for number in 1..=2 {
            fleet.died(&owner(number, 1));
            losses.note(&fleet, &hold(), u32::from(number) * SECOND);
            forget(&mut fleet);
        }
        losses.note(&fleet, &hold(), 4 * SECOND);
        assert_eq!(names(&losses, 5 * SECOND), ["worker-2", "worker-1"]);
        assert_eq!(losses.since(&owner(1, 1), 5 * SECOND), Some(4 * SECOND));
        losses.note(&fleet, &hold(), 601 * SECOND);
        assert_eq!(names(&losses, 601 * SECOND), ["worker-2"]);
        losses.note(&fleet, &hold(), 700 * SECOND);
        assert!(losses.all.is_empty());
    }

    #[test]
    fn who_was_told_to_end_or_lives_again_is_not_lost() {
        let (mut fleet, mut losses) = (living(2), Losses::default());
        fleet.left(&owner(0, 1));
        fleet.died(&owner(1, 1));
        assert_eq!(losses.note(&fleet, &hold(), SECOND), 1);
        assert_eq!(
            losses.note(&fleet, &hold(), SECOND),
            0,
            "it is noted already"
        );
        assert_eq!(names(&losses, SECOND), ["worker-1"]);
        fleet.reported(&owner(1, 1), crate::Report::default());
        losses.note(&fleet, &hold(), SECOND);
        assert_eq!(names(&losses, SECOND), [""; 0]);
    }

    #[test]
    fn who_is_held_is_lost_once_its_silence_is_believed() {
        let (mut fleet, mut losses) = (living(3), Losses::default());
        for number in 1..=2 {
            fleet.fell_silent(&owner(number, 1));
        }
        let mut hold = Hold::default();
        hold.look(&fleet, SECOND);
        assert_eq!(losses.note(&fleet, &hold, SECOND), 0);
        assert_eq!(losses.since(&owner(1, 1), SECOND), None);
        hold.look(&fleet, 100 * SECOND);
        assert_eq!(losses.note(&fleet, &hold, 100 * SECOND), 2);
    }

    #[test]
    fn the_list_is_bounded() {
        let (mut fleet, mut losses) = (living(40), Losses::default());
        for number in 0..40 {
            fleet.died(&owner(number, 1));
        }
        losses.note(&fleet, &hold(), SECOND);
        assert_eq!(losses.recent(SECOND).len(), MOST);
        // A name that lives again keeps its earlier life known to the fleet.
        fleet.join(&introduced(&owner(3, 2))).unwrap();
        forget(&mut fleet);
        losses.note(&fleet, &hold(), 700 * SECOND);
        losses.note(&fleet, &hold(), 701 * SECOND);
        assert_eq!(names(&losses, 701 * SECOND), [""; 0], "nobody is lost anew");
    }
}
