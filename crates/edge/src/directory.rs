//! Where every shard lives and how its worker is reached, as whoever starts the edge
//! tells it.

use std::collections::HashMap;
use std::sync::Arc;

use hexagram_core::{Owner, RegisterMap, ShardMap, WorkerId};
use hexagram_proto::{Dial, WorkerAddress};
use tokio::sync::watch;

/// Where every shard lives and how its worker is reached.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Who owns which shard. An assignment without an epoch is fixed: its owner
    /// tells the epoch, and only another directory names another owner.
    pub map: ShardMap,
    /// The workers' addresses.
    pub workers: HashMap<WorkerId, WorkerAddress>,
}

/// The register's map, followed; `None` while there was none yet.
type Maps = watch::Receiver<Option<Arc<RegisterMap>>>;

impl Directory {
    /// What the register's map says: routes, and the addresses of the lives that own
    /// something over those of others.
    #[must_use]
    pub fn of(map: &RegisterMap, dial: &Dial) -> Self {
        let mut workers = HashMap::new();
        let mut know = |owner: &Owner| {
            if let Some(address) = map.addresses().get(owner) {
                workers.insert(owner.worker.clone(), dial(address));
            }
        };
        map.addresses().keys().for_each(&mut know);
        let plans = map.entries().filter_map(|(_, entry)| entry.plan());
        plans.for_each(|plan| know(&plan.to));
        map.entries().for_each(|(_, entry)| know(entry.owner()));
        Self {
            map: map.routes(),
            workers,
        }
    }

    /// Follows the register's map, with workers reached by `dial`; waits for the
    /// first, which never comes where `maps` ends without one: `None`.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`].
    pub async fn follow(mut maps: Maps, dial: Dial) -> Option<watch::Receiver<Arc<Self>>> {
        let first = maps.wait_for(Option::is_some).await.ok()?.clone()?;
        let (sender, directory) = watch::channel(Arc::new(Self::of(&first, &dial)));
        tokio::spawn(async move {
            while let Some(map) = next(&mut maps).await {
                sender.send_replace(Arc::new(Self::of(&map, &dial)));
            }
        });
        Some(directory)
    }
}

/// The next map; none when nobody follows it any more.
async fn next(maps: &mut Maps) -> Option<Arc<RegisterMap>> {
    loop {
        maps.changed().await.ok()?;
        if let Some(map) = maps.borrow_and_update().clone() {
            return Some(map);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hexagram_core::{Entry, Epoch, Incarnation, ShardCount};

    use super::*;

    #[test]
    fn the_life_that_owns_a_shard_is_the_one_that_is_dialled() {
        let dial: Dial = Arc::new(|address| WorkerAddress::Tcp(address.to_owned()));
        let owner = |life| Owner {
            worker: "w".parse().unwrap(),
            incarnation: Incarnation::new(life).unwrap(),
        };
        for owns in [1, 2] {
            let addresses = [1, 2].map(|life| (owner(life), format!("h:{life}")));
            let entries = vec![Entry::new(owner(owns), Epoch::FIRST)];
            let count = ShardCount::try_from(1).unwrap();
            let map = RegisterMap::new(1, count, entries, BTreeMap::from(addresses)).unwrap();
            let directory = Directory::of(&map, &dial);
            let dialled = &directory.workers[&owner(1).worker];
            assert!(dialled.same(&WorkerAddress::Tcp(format!("h:{owns}"))));
        }
    }
}
