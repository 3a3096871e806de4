//! What a worker says of itself as it joins, and whether it fits to those that live.

use hexagram_core::{Owner, Setup, WorkerId};

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
    /// What one stores the other would not find.
    #[error(
        "the session stores of {name} and {other} are {mine} and {theirs}: give every worker the \
         same --store, by the same host name; to go over to another, end all workers first"
    )]
    Stores {
        /// Who joins.
        name: WorkerId,
        /// Who lives.
        other: WorkerId,
        /// Where the one stores.
        mine: String,
        /// Where the other does.
        theirs: String,
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
        let (Some(mine), Some(theirs)) = (self.setup.store.clone(), setup.store.clone()) else {
            return Ok(());
        };
        match (mine.is_empty(), theirs.is_empty()) {
            _ if mine == theirs => Ok(()),
            (true, _) => Err(Misfit::NoStore { name, other }),
            (_, true) => Err(Misfit::Store { name, other }),
            (false, false) => Err(Misfit::Stores {
                name,
                other,
                mine,
                theirs,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::owner;

    fn setup(keys: &[u64], store: Option<&str>) -> Setup {
        let (keys, store) = (keys.to_vec(), store.map(str::to_owned));
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
        let told = setup(&[1], Some("s:1/0"));
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
                setup(&[1], Some("")),
                setup(&[1], Some("s:1/0")),
                "worker-1 has no session store",
                "--store",
            ),
            (
                setup(&[1], Some("s:1/0")),
                setup(&[1], Some("")),
                "worker-0 has none",
                "--store",
            ),
            (
                setup(&[1], Some("s:1/1")),
                setup(&[1], Some("s:1/0")),
                "worker-1 and worker-0 are s:1/1 and s:1/0",
                "same --store",
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
