//! Those of whom only their silence is known, and what the platform says of them (ADR 0027).

use std::collections::BTreeSet;

use hexagram_core::{Owner, WorkerId};

use super::{Fleet, Life, Member};

impl Fleet {
    /// `owner` fails every probe, and nobody refuses one: it is dead, or cut off from who
    /// asks. Who is dead beyond doubt stays so.
    pub fn fell_silent(&mut self, owner: &Owner) {
        if let Some(member) = self.members.get_mut(owner) {
            member.silent |= member.life != Life::Dead;
            (member.life, member.missed) = (Life::Dead, true);
        }
    }

    /// Whether `owner` is dead, and only its silence says so.
    #[must_use]
    pub fn is_silent(&self, owner: &Owner) -> bool {
        let member = self.members.get(owner);
        member.is_some_and(|member| member.life == Life::Dead && member.silent)
    }

    /// Those who do not report and are not dead beyond doubt.
    pub fn unheard(&self) -> impl Iterator<Item = &Owner> {
        let members = self.members.iter();
        let unheard = members.filter(|(_, member)| member.is_unheard());
        unheard.map(|(owner, _)| owner)
    }

    /// Whether `owner` is one of [`Self::unheard`].
    #[must_use]
    pub fn is_unheard(&self, owner: &Owner) -> bool {
        self.members.get(owner).is_some_and(Member::is_unheard)
    }

    /// Whether `owner` was asked and is not heard. Of one that has just joined, or that the
    /// register has just named, nothing is known yet.
    #[must_use]
    pub fn has_missed(&self, owner: &Owner) -> bool {
        self.members.get(owner).is_some_and(|member| member.missed)
    }

    /// The names of all workers that the platform has, also of those that are about to end.
    /// Where there are none it says nothing.
    pub fn set_present(&mut self, present: BTreeSet<WorkerId>) {
        self.present = present;
    }

    /// Ends those who were asked in vain and whose names the platform does not have; gives them.
    /// Who was not asked yet may be younger than the platform's word.
    ///
    /// It is believed once somebody reports whom it has. Before that workers may be called
    /// otherwise than it calls them, and nobody could follow those that are dead.
    pub fn bury(&mut self) -> Vec<Owner> {
        let is_present = |owner: &Owner| self.present.contains(&owner.worker);
        if !self.living().any(|(owner, _)| is_present(owner)) {
            return Vec::new();
        }
        let gone = self.unheard().filter(|owner| self.has_missed(owner));
        let gone = gone.filter(|owner| !is_present(owner));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|owner| self.died(owner));
        gone
    }
}

impl Member {
    fn is_unheard(&self) -> bool {
        match self.life {
            Life::Alive => false,
            Life::Suspect => true,
            Life::Dead => self.silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use hexagram_proto::admin::Phase;

    use super::*;
    use crate::testing::{fleet, held, introduced, owner};

    fn names(workers: &[u8]) -> BTreeSet<WorkerId> {
        let names = workers.iter().map(|worker| owner(*worker, 1).worker);
        names.collect()
    }

    /// Workers 0 and 1, which report.
    fn two() -> Fleet {
        let nothing = held(Phase::Absent, 0);
        fleet(&[(&owner(0, 1), nothing), (&owner(1, 1), nothing)])
    }

    #[test]
    fn silence_is_no_proof_and_makes_none_doubtful() {
        let (mut fleet, worker) = (two(), owner(0, 1));
        fleet.fell_silent(&worker);
        assert!(fleet.is_silent(&worker) && fleet.is_unheard(&worker));
        assert_eq!(fleet.life(&worker), Life::Dead);
        fleet.died(&worker);
        fleet.fell_silent(&worker);
        assert!(!fleet.is_silent(&worker) && !fleet.is_unheard(&worker));
        fleet.reported(&worker, crate::Report::default());
        fleet.died(&worker);
        assert!(!fleet.is_silent(&worker));
    }

    #[test]
    fn the_next_life_of_a_name_ends_the_doubt_about_the_last_one() {
        let mut fleet = two();
        fleet.fell_silent(&owner(0, 1));
        fleet
            .join(&introduced(&owner(0, 2)))
            .expect("its name is free");
        assert!(!fleet.is_unheard(&owner(0, 1)));
    }

    #[test]
    fn who_is_in_no_pod_and_does_not_report_is_dead() {
        let mut fleet = two();
        let [here, ends, recalled] = [owner(0, 1), owner(2, 1), owner(3, 1)];
        for owner in [&ends, &recalled] {
            fleet.recall(owner, "127.0.0.1:1");
        }
        assert_eq!(fleet.bury(), [], "nobody has told");
        fleet.set_present(names(&[0, 2]));
        assert_eq!(fleet.bury(), [], "nobody was asked");
        for owner in [&ends, &recalled] {
            fleet.suspect(owner);
        }
        assert_eq!(fleet.bury(), std::slice::from_ref(&recalled));
        assert_eq!(fleet.life(&recalled), Life::Dead);
        assert_eq!(fleet.life(&ends), Life::Suspect, "its pod is there");
        assert_eq!(fleet.life(&owner(1, 1)), Life::Alive, "it reports");
        fleet.fell_silent(&owner(1, 1));
        assert_eq!(fleet.bury(), [owner(1, 1)]);
        assert!(!fleet.is_silent(&owner(1, 1)), "there is no doubt");
        assert_eq!(fleet.life(&here), Life::Alive);
    }

    #[test]
    fn a_platform_that_has_nobody_who_reports_is_not_believed() {
        let mut fleet = two();
        fleet.suspect(&owner(0, 1));
        fleet.set_present(names(&[7, 8]));
        assert_eq!(fleet.bury(), [], "it calls them otherwise");
        fleet.suspect(&owner(1, 1));
        fleet.set_present(names(&[1]));
        assert_eq!(fleet.bury(), [], "nobody reports");
        fleet.reported(&owner(1, 1), crate::Report::default());
        assert_eq!(fleet.bury(), [owner(0, 1)]);
    }
}
