//! Clusters whose workers do at once what the map says: whatever dies, joins or
//! drains, epochs grow, budgets hold and the shards come to rest, evenly.

use std::time::Duration;

use hexagram_core::{Owner, RegisterMap};
use proptest::prelude::*;

use super::cluster::{Cluster, SHARDS};
use crate::testing::{count, owner};

#[derive(Clone, Debug)]
enum Happens {
    Joins(u8),
    Dies(u8),
    Restarts(u8),
    Drains(u8),
    Rounds(u8),
}

fn anything() -> impl Strategy<Value = Happens> {
    let worker = 0..5_u8;
    prop_oneof![
        worker.clone().prop_map(Happens::Joins),
        worker.clone().prop_map(Happens::Dies),
        worker.clone().prop_map(Happens::Restarts),
        worker.prop_map(Happens::Drains),
        (1..4_u8).prop_map(Happens::Rounds),
    ]
}

impl Happens {
    fn to(&self, cluster: &mut Cluster) {
        // Long enough after the last time that nobody is suspected.
        cluster.now += Duration::from_secs(61);
        match *self {
            Happens::Joins(worker) if cluster.living(worker).is_none() => cluster.rise(worker),
            Happens::Dies(worker) => cluster.die(worker),
            Happens::Restarts(worker) if cluster.living(worker).is_some() => {
                cluster.die(worker);
                cluster.rise(worker);
            }
            Happens::Drains(worker) => cluster.drain(owner(worker, 1)),
            Happens::Rounds(rounds) => (0..rounds).for_each(|_| _ = cluster.round()),
            Happens::Joins(_) | Happens::Restarts(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn shards_come_to_rest(happenings in prop::collection::vec(anything(), 0..12)) {
        let mut cluster = Cluster::new();
        for happens in &happenings {
            happens.to(&mut cluster);
        }
        let rest = (0..500).find(|_| !cluster.round());
        prop_assert!(rest.is_some(), "it never comes to rest");
        let drains = cluster.drains.clone();
        let open = |owner: &&Owner| !drains.contains_key(&owner.worker);
        let targets: Vec<_> = cluster.workers.keys().filter(open).cloned().collect();
        prop_assume!(!targets.is_empty());
        let owned = |owner: &Owner| cluster.map.entries().filter(|(_, e)| e.owner() == owner).count();
        let counts: Vec<_> = targets.iter().map(owned).collect();
        prop_assert_eq!(counts.iter().sum::<usize>(), usize::from(SHARDS), "others are empty");
        let share = usize::from(SHARDS) / targets.len();
        prop_assert!(counts.iter().all(|count| count * 2 >= share), "{counts:?}");
        for (shard, entry) in cluster.map.entries() {
            let holding = &cluster.workers[entry.owner()][&shard];
            prop_assert_eq!(holding.serving(), Some(entry.epoch()));
        }
    }
}

#[test]
fn a_new_worker_gets_its_share_and_nothing_else_moves() {
    let mut cluster = Cluster::new();
    for (worker, shares) in [(1, vec![16, 16]), (2, vec![10, 11, 11])] {
        cluster.rise(worker);
        let before = cluster.map.clone();
        while cluster.round() {}
        let owners = |map: &RegisterMap| map.routes().shards_per_worker();
        let mut counts: Vec<_> = owners(&cluster.map).into_values().collect();
        counts.sort_unstable();
        assert_eq!(counts, shares);
        let newcomer = owner(worker, 1).worker;
        let pairs = before.entries().zip(cluster.map.entries());
        let moved = pairs.filter(|((_, old), (_, new))| old.owner() != new.owner());
        assert_eq!(moved.count(), owners(&cluster.map)[&newcomer]);
    }
    assert_eq!(cluster.map.count(), count(SHARDS));
}

/// Rounds until nothing moves, ten seconds after the last time.
fn tick(cluster: &mut Cluster) -> bool {
    cluster.memory = std::mem::take(&mut cluster.memory).tick();
    let mut changed = false;
    while cluster.round() {
        changed = true;
    }
    changed
}

#[test]
fn a_busy_worker_gives_shards_to_an_idle_one_but_not_while_another_drains() {
    let mut cluster = Cluster::new();
    cluster.rise(1);
    cluster.rise(2);
    while cluster.round() {}
    let busy = owner(1, 2);
    let owned = |cluster: &Cluster| {
        let own = cluster
            .map
            .entries()
            .filter(|(_, entry)| *entry.owner() == busy);
        own.map(|(shard, _)| shard).collect::<Vec<_>>()
    };
    let before = owned(&cluster);
    cluster.loads = before.iter().map(|shard| (*shard, 50_000)).collect();
    cluster.obey();
    assert!(!tick(&mut cluster) && !tick(&mut cluster));
    cluster.drain(owner(2, 3));
    assert!(tick(&mut cluster), "it is emptied");
    let emptied = owned(&cluster);
    assert!(
        before.iter().all(|shard| emptied.contains(shard)),
        "it only gets more"
    );
    assert!(
        !tick(&mut cluster) && !tick(&mut cluster),
        "the count begins anew"
    );
    assert!(tick(&mut cluster));
    assert!(owned(&cluster).len() < emptied.len());
}
