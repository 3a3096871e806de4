//! Those of whom only their silence is known (ADR 0027).

use hexagram_core::Owner;

use super::{Fleet, Life, Member};

impl Fleet {
    /// `owner` fails every probe, and nobody refuses one: it is dead, or cut off from who
    /// asks. Who is dead beyond doubt stays so.
    pub fn fell_silent(&mut self, owner: &Owner) {
        if let Some(member) = self.members.get_mut(owner) {
            member.silent |= member.life != Life::Dead;
            member.life = Life::Dead;
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
}
