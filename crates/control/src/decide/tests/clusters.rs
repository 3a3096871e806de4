//! Clusters whose workers do at once what the map says: whatever dies, joins or
//! drains, epochs grow, budgets hold and the shards come to rest, evenly.

use std::collections::{BTreeMap, BTreeSet};

use hexagram_core::placement::Memory;
use hexagram_core::{Entry, Holding, Owner, Phase, RegisterMap, ShardId};
use hexagram_proto::admin;
use proptest::prelude::*;

use super::super::{Decision, View};
use crate::fleet::{Fleet, Held, Report};
use crate::testing::{count, epoch, held, map, owner, report};

const SHARDS: u16 = 32;

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

struct Cluster {
    map: RegisterMap,
    fleet: Fleet,
    drains: BTreeSet<hexagram_core::WorkerId>,
    memory: Memory,
    loads: BTreeMap<ShardId, u64>,
    life: u64,
    workers: BTreeMap<Owner, BTreeMap<ShardId, Holding<Owner>>>,
}

impl Cluster {
    fn new() -> Self {
        let first = owner(0, 1);
        let entries = vec![Entry::new(first.clone(), epoch(1)); usize::from(SHARDS)];
        let mut this = Self {
            map: map(1, entries),
            fleet: Fleet::default(),
            drains: BTreeSet::new(),
            memory: Memory::default(),
            loads: BTreeMap::new(),
            life: 1,
            workers: BTreeMap::new(),
        };
        this.join(first);
        this
    }

    fn join(&mut self, owner: Owner) {
        self.fleet.join(&owner, "127.0.0.1:1").unwrap();
        self.workers.insert(owner, BTreeMap::new());
        self.obey();
    }

    fn living(&self, worker: u8) -> Option<Owner> {
        let name = owner(worker, 1).worker;
        self.workers
            .keys()
            .find(|owner| owner.worker == name)
            .cloned()
    }

    fn happen(&mut self, happens: &Happens) {
        match *happens {
            Happens::Joins(worker) if self.living(worker).is_none() => self.rise(worker),
            Happens::Dies(worker) => self.die(worker),
            Happens::Restarts(worker) if self.living(worker).is_some() => {
                self.die(worker);
                self.rise(worker);
            }
            Happens::Drains(worker) => drop(self.drains.insert(owner(worker, 1).worker)),
            Happens::Rounds(rounds) => (0..rounds).for_each(|_| _ = self.round()),
            Happens::Joins(_) | Happens::Restarts(_) => {}
        }
    }

    fn rise(&mut self, worker: u8) {
        self.life += 1;
        self.join(owner(worker, self.life));
    }

    fn die(&mut self, worker: u8) {
        if let Some(owner) = self.living(worker) {
            self.workers.remove(&owner);
            self.fleet.died(&owner);
        }
    }

    /// A decision and what follows from it; gives whether anything changed.
    fn round(&mut self) -> bool {
        let view = View {
            map: &self.map,
            fleet: &self.fleet,
            drains: &self.drains,
            memory: &self.memory,
        };
        let Decision { changes, memory } = view.decide();
        self.memory = memory;
        for change in &changes {
            let before = self.map.entry(change.shard);
            assert!(change.entry.epoch() >= before.epoch(), "I4");
            assert!(change.entry.spent() >= before.spent(), "I4");
            let next = self.map.change(change.shard, |_| Ok(change.entry.clone()));
            self.map = next.unwrap();
        }
        self.within_budget();
        self.obey();
        !changes.is_empty()
    }

    fn within_budget(&self) {
        let plans = || {
            self.map
                .entries()
                .filter(|(_, entry)| entry.plan().is_some())
        };
        assert!(plans().count() <= 8);
        for owner in self.workers.keys() {
            let of = |entry: &Entry<Owner>| {
                entry.owner() == owner || entry.plan().is_some_and(|plan| plan.to == *owner)
            };
            assert!(plans().filter(|(_, entry)| of(entry)).count() <= 2);
        }
    }

    /// Workers claim what is theirs, grant what is planned, and report.
    fn obey(&mut self) {
        for (shard, entry) in self.map.entries() {
            for (owner, holdings) in &mut self.workers {
                let holding = holdings.entry(shard).or_default();
                if owner != entry.owner() {
                    holding.superseded(entry.epoch());
                } else if holding.claim(entry.epoch()).is_ok() {
                    holding.activate(entry.epoch()).unwrap();
                }
            }
            if let Some(plan) = entry.plan()
                && self.workers.contains_key(&plan.to)
                && let Some(giver) = self.workers.get_mut(entry.owner())
                && giver
                    .get_mut(&shard)
                    .is_some_and(|h| h.freeze(plan.clone()).is_ok())
            {
                giver.get_mut(&shard).unwrap().grant().unwrap();
                let taker = self
                    .workers
                    .get_mut(&plan.to)
                    .unwrap()
                    .entry(shard)
                    .or_default();
                taker.claim(plan.epoch).unwrap();
                taker.activate(plan.epoch).unwrap();
            }
        }
        for (owner, holdings) in &self.workers {
            self.fleet.reported(owner, told(holdings, &self.loads));
        }
    }
}

fn told(holdings: &BTreeMap<ShardId, Holding<Owner>>, loads: &BTreeMap<ShardId, u64>) -> Report {
    let told = |shard: &ShardId, holding: &Holding<Owner>| {
        let (phase, epoch) = match holding.phase() {
            Phase::Absent => (admin::Phase::Absent, None),
            Phase::Claiming(epoch) => (admin::Phase::Claiming, Some(*epoch)),
            Phase::Serving(epoch) => (admin::Phase::Serving, Some(*epoch)),
            Phase::Frozen { epoch, .. } => (admin::Phase::Frozen, Some(*epoch)),
            Phase::Granted(plan) => (admin::Phase::Granted, Some(plan.epoch)),
        };
        Held {
            epoch,
            spent: holding.spent(),
            load: loads.get(shard).copied().unwrap_or_default(),
            ..held(phase, 0)
        }
    };
    let shards = holdings
        .iter()
        .map(|(shard, holding)| (*shard, told(shard, holding)));
    let shards: Vec<_> = shards.collect();
    report(&shards)
}

proptest! {
    #[test]
    fn shards_come_to_rest(happenings in prop::collection::vec(anything(), 0..12)) {
        let mut cluster = Cluster::new();
        for happens in &happenings {
            cluster.happen(happens);
        }
        let rest = (0..500).find(|_| !cluster.round());
        prop_assert!(rest.is_some(), "it never comes to rest");
        let drains = cluster.drains.clone();
        let open = |owner: &&Owner| !drains.contains(&owner.worker);
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
    cluster.drains.insert(owner(2, 3).worker);
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
