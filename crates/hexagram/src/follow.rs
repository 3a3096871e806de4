//! The controller's shard map as an edge's directory.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use hexagram_control::Maps;
use hexagram_core::RegisterMap;
use hexagram_edge::{Dial, Directory, WorkerAddress};
use tokio::sync::watch;

/// The address of a worker in another process, as it stands in the map.
pub(crate) fn over_tcp() -> Dial {
    Arc::new(|address| WorkerAddress::Tcp(address.to_owned()))
}

/// Follows `maps`, with workers reached by `dial`; waits for the first.
pub(crate) async fn directory(
    mut maps: Maps,
    dial: Dial,
) -> Result<watch::Receiver<Arc<Directory>>> {
    let first = maps.wait_for(Option::is_some).await;
    let first = first.context("the shard map has no source")?.clone();
    let first = first.context("the shard map is empty")?;
    let (sender, directory) = watch::channel(Arc::new(read(&first, &dial)));
    tokio::spawn(async move {
        while let Some(map) = next(&mut maps).await {
            sender.send_replace(Arc::new(read(&map, &dial)));
        }
    });
    Ok(directory)
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

/// Routes, and the addresses of the lives that own something over those of others.
fn read(map: &RegisterMap, dial: &Dial) -> Directory {
    let mut workers = HashMap::new();
    let mut know = |owner: &hexagram_core::Owner| {
        if let Some(address) = map.addresses().get(owner) {
            workers.insert(owner.worker.clone(), dial(address));
        }
    };
    map.addresses().keys().for_each(&mut know);
    let plans = map.entries().filter_map(|(_, entry)| entry.plan());
    plans.for_each(|plan| know(&plan.to));
    map.entries().for_each(|(_, entry)| know(entry.owner()));
    Directory {
        map: map.routes(),
        workers,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hexagram_core::{Entry, Epoch, Incarnation, Owner, ShardCount};

    use super::*;

    #[test]
    fn the_life_that_owns_a_shard_is_the_one_that_is_dialled() {
        let owner = |life| Owner {
            worker: "w".parse().unwrap(),
            incarnation: Incarnation::new(life).unwrap(),
        };
        for owns in [1, 2] {
            let addresses = [1, 2].map(|life| (owner(life), format!("h:{life}")));
            let entries = vec![Entry::new(owner(owns), Epoch::FIRST)];
            let count = ShardCount::try_from(1).unwrap();
            let map = RegisterMap::new(1, count, entries, BTreeMap::from(addresses)).unwrap();
            let directory = read(&map, &over_tcp());
            let dialled = &directory.workers[&owner(1).worker];
            assert!(dialled.same(&WorkerAddress::Tcp(format!("h:{owns}"))));
        }
    }
}
