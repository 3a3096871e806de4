//! What a worker says of itself as it joins, and whether it fits to those that live.

use hexagram_core::{Owner, WorkerId};

/// A worker that joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The worker in this life.
    pub owner: Owner,
    /// Where it is reached.
    pub address: String,
    /// What it works with.
    pub setup: Setup,
    /// Whether a controller of this cluster has taken it in before. It weighs against
    /// others that came to a restarted controller first and do not go with it.
    pub again: bool,
}

/// What the workers of a cluster are to have alike, as far as one tells it. Workers of
/// older releases tell nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The fingerprints of its key ring's keys; empty where it does not tell.
    pub keys: Vec<u64>,
    /// Whether it has a session store.
    pub store: Option<bool>,
}

/// Why a worker may not serve beside another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Neither can open what the other seals, nor can an edge talk to both.
    #[error(
        "the key rings of {name} and {other} have no key in common, so clients would get 503: give \
         both the same --keys file; to rotate keys, add the new one to the ring of every process first"
    )]
    Keys {
        /// Who joins.
        name: WorkerId,
        /// Who lives.
        other: WorkerId,
    },
    /// Sessions would end where their shards move to it.
    #[error(
        "{name} has no session store and {other} has one: give every worker the same --store; to \
         do without one, end all workers first"
    )]
    NoStore {
        /// Who joins.
        name: WorkerId,
        /// Who lives.
        other: WorkerId,
    },
    /// Sessions would end where their shards move away from it.
    #[error(
        "{name} has a session store and {other} has none: give every worker the same --store; to \
         begin with one, end all workers first"
    )]
    Store {
        /// Who joins.
        name: WorkerId,
        /// Who lives.
        other: WorkerId,
    },
}

impl Introduction {
    /// A worker that tells nothing of its setup.
    #[must_use]
    pub fn new(owner: Owner, address: String) -> Self {
        let setup = Setup::default();
        Self {
            owner,
            address,
            setup,
            again: false,
        }
    }

    /// Whether the worker may serve beside `other`, which has `setup`.
    ///
    /// # Errors
    /// The reason why not.
    pub(crate) fn fits(&self, other: &WorkerId, setup: &Setup) -> Result<(), Misfit> {
        let (name, other) = (self.owner.worker.clone(), other.clone());
        if !self.setup.shares_key(setup) {
            return Err(Misfit::Keys { name, other });
        }
        match (self.setup.store, setup.store) {
            (Some(false), Some(true)) => Err(Misfit::NoStore { name, other }),
            (Some(true), Some(false)) => Err(Misfit::Store { name, other }),
            _ => Ok(()),
        }
    }
}

impl Setup {
    /// During a rotation rings differ, but never by all of their keys.
    fn shares_key(&self, other: &Self) -> bool {
        let untold = self.keys.is_empty() || other.keys.is_empty();
        untold || self.keys.iter().any(|key| other.keys.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::owner;

    fn setup(keys: &[u64], store: Option<bool>) -> Setup {
        let keys = keys.to_vec();
        Setup { keys, store }
    }

    /// Whether worker-1 with `new` may serve beside worker-0 with `old`.
    fn fits(new: Setup, old: &Setup) -> Result<(), String> {
        let mut who = Introduction::new(owner(1, 1), "127.0.0.1:1".to_owned());
        who.setup = new;
        let fits = who.fits(&owner(0, 1).worker, old);
        fits.map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn every_step_of_a_rotation_is_let_through() {
        let steps: [&[u64]; 4] = [&[1], &[1, 2], &[2, 1], &[2]];
        for neighbours in steps.windows(2) {
            let [one, other] = [neighbours[0], neighbours[1]].map(|keys| setup(keys, None));
            assert_eq!(fits(one.clone(), &other), Ok(()), "{neighbours:?}");
            assert_eq!(fits(other, &one), Ok(()), "{neighbours:?}");
        }
    }

    #[test]
    fn what_was_not_told_is_not_compared() {
        let told = setup(&[1], Some(true));
        assert_eq!(fits(Setup::default(), &told), Ok(()));
        assert_eq!(fits(told.clone(), &Setup::default()), Ok(()));
        assert_eq!(fits(told.clone(), &told), Ok(()));
    }

    #[test]
    fn a_misfit_is_told_cause_and_cure() {
        for (new, old, cause, cure) in [
            (
                setup(&[2, 3], None),
                setup(&[1], None),
                "no key in common",
                "--keys",
            ),
            (
                setup(&[1], Some(false)),
                setup(&[1], Some(true)),
                "worker-1 has no session store",
                "--store",
            ),
            (
                setup(&[1], Some(true)),
                setup(&[1], Some(false)),
                "worker-0 has none",
                "--store",
            ),
        ] {
            let said = fits(new, &old).unwrap_err();
            assert!(
                said.contains("worker-0") && said.contains("worker-1"),
                "{said}"
            );
            assert!(said.contains(cause) && said.contains(cure), "{said}");
        }
    }
}
