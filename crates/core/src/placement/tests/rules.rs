//! What holds for any cluster and any loads.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Budget, Candidate, Hosted, Layout, Memory, Motive, Move, adopter, place};
use super::cluster::{Cluster, by_load, name};
use crate::ShardCount;

const CORE: u64 = 1_000_000;

fn any_cluster() -> impl Strategy<Value = Cluster> {
    let shards = prop_oneof![Just(8_u16), Just(16), Just(64), Just(256)];
    (1..=24_usize, shards).prop_flat_map(|(workers, shards)| {
        let count = usize::from(shards);
        let owners = prop::collection::vec(0..workers, count);
        let load = prop_oneof![3 => 0..200_000_u64, 1 => Just(0), 1 => 0..1_000_000_u64];
        let loads = prop::collection::vec(load, count);
        (owners, loads).prop_map(move |(owners, loads)| {
            let mut cluster = Cluster::new(workers, CORE, shards).with_loads(loads);
            cluster.at = cluster.at.into_keys().zip(owners).collect();
            cluster
        })
    })
}

/// The cluster one decision before it moves by load, and those moves.
fn rounds(mut cluster: Cluster) -> Vec<(Cluster, Vec<Move>)> {
    let mut rounds = Vec::new();
    for _ in 0..60 {
        let before = cluster.clone();
        rounds.push((before, cluster.round()));
    }
    rounds
}

fn after(cluster: &Cluster, moved: &Move) -> (Cluster, Vec<u64>) {
    let mut cluster = cluster.clone();
    cluster.at.insert(moved.shard, moved.to);
    let carried = cluster.carried();
    (cluster, carried)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_comes_to_rest_and_is_no_worse_then(cluster in any_cluster()) {
        let mut at_rest = cluster.clone();
        at_rest.rest();
        prop_assert_eq!(at_rest.round(), vec![]);
        let [before, after] = [cluster, at_rest].map(|cluster| cluster.layout());
        if before.is_busy() && after.is_busy() {
            // What shards weigh beside their loads.
            let slack = 0.01 * before.open().count() as f64;
            let (before, after) = (before.imbalance().unwrap(), after.imbalance().unwrap());
            prop_assert!(after <= before + slack, "{before} -> {after}");
        }
    }

    #[test]
    fn a_taker_never_ends_busier_than_the_giver_was(cluster in any_cluster()) {
        for (mut cluster, moves) in rounds(cluster) {
            for moved in &moves {
                let before = cluster.carried();
                let (next, carried) = after(&cluster, moved);
                if moved.why == Motive::Load {
                    // What a shard weighs beside its load.
                    let slack = before.iter().sum::<u64>() / 100;
                    prop_assert!(carried[moved.to] <= before[moved.from] + slack);
                }
                cluster = next;
            }
        }
    }

    #[test]
    fn budgets_hold(cluster in any_cluster()) {
        let mut moved_at = BTreeMap::new();
        for (round, (cluster, moves)) in rounds(cluster).into_iter().enumerate() {
            prop_assert!(moves.len() <= 8);
            for at in 0..cluster.workers.len() {
                let part = |moved: &&Move| moved.from == at || moved.to == at;
                prop_assert!(moves.iter().filter(part).count() <= 2);
            }
            let loaded: Vec<_> = by_load(&moves).collect();
            let load: u64 = loaded.iter().map(|moved| cluster.loads[&moved.shard]).sum();
            let total: u64 = cluster.loads.values().sum();
            prop_assert!(loaded.len() < 2 || load as f64 <= total as f64 * 0.091);
            for moved in loaded {
                let last = moved_at.insert(moved.shard, round);
                prop_assert!(last.is_none_or(|last| round - last >= 30), "five minutes");
            }
        }
    }

    #[test]
    fn inside_the_band_nothing_moves(loads in prop::collection::vec(19_100..20_900_u64, 64)) {
        let mut cluster = Cluster::new(16, CORE / 10, 64).with_loads(loads);
        prop_assert_eq!(cluster.rest(), vec![]);
    }

    #[test]
    fn nothing_moves_by_load_where_nobody_has_much_to_do(cluster in any_cluster()) {
        let total: u64 = cluster.loads.values().sum();
        let mut cluster = cluster;
        cluster.resize(cluster.workers.len(), total.max(1) * 6);
        prop_assert_eq!(by_load(&cluster.rest()).count(), 0);
    }

    #[test]
    fn nobody_is_without_a_shard_where_another_has_two(cluster in any_cluster()) {
        let mut cluster = cluster;
        cluster.rest();
        let counts = cluster.counts();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(*least > 0 || *most < 2, "{counts:?}");
    }

    #[test]
    fn a_new_worker_is_filled_to_the_mean(
        workers in 2..12_usize,
        loads in prop::collection::vec(15_000..25_000_u64, 256),
    ) {
        let capacity = 2 * loads.iter().sum::<u64>() / workers as u64;
        let mut cluster = Cluster::new(workers - 1, capacity, 256).with_loads(loads);
        cluster.rest();
        cluster.resize(workers, capacity);
        let moves = cluster.rest();
        let mean = cluster.carried().iter().sum::<u64>() as f64 / workers as f64;
        let new = cluster.carried()[workers - 1] as f64;
        prop_assert!((0.9..1.1).contains(&(new / mean)), "{new} for {mean}");
        let filling: Vec<_> = moves.iter().filter(|moved| moved.why == Motive::Fill).collect();
        prop_assert!(filling.iter().all(|moved| moved.to == workers - 1), "nothing else moves");
        prop_assert!(filling.len() <= 256 / workers + 2, "{} moves", filling.len());
    }

    #[test]
    fn workers_that_drain_are_emptied_and_given_nothing(
        cluster in any_cluster(),
        staying in 1..24_usize,
    ) {
        prop_assume!(cluster.workers.len() > 1);
        let staying = 1 + staying % (cluster.workers.len() - 1);
        let mut cluster = cluster;
        cluster.resize(staying, CORE);
        let moves = cluster.rest();
        prop_assert!(moves.iter().all(|moved| moved.to < staying));
        prop_assert!(cluster.at.values().all(|at| *at < staying));
    }

    #[test]
    fn load_rests_while_workers_come_and_go(cluster in any_cluster()) {
        for (_, moves) in rounds(cluster) {
            let loaded = by_load(&moves).count();
            prop_assert!(loaded == 0 || loaded == moves.len());
        }
    }
}

#[test]
fn orphans_go_by_rendezvous_while_there_is_room() {
    let count = ShardCount::default();
    let candidates = |open: usize| {
        (0..4)
            .map(|number| candidate(number, number < open))
            .collect()
    };
    let mut layout = Layout::new(candidates(3), []);
    let mut favourites = 0;
    for shard in count.iter() {
        let to = adopter(&layout, shard, count, |_| true).unwrap();
        favourites += usize::from(layout.preference(shard)[0] == to);
        let hosted = Hosted {
            at: to,
            load: 0,
            can_move: false,
        };
        layout.put(shard, hosted);
    }
    let counts: Vec<_> = (0..4).map(|at| layout.count(at)).collect();
    assert!(counts[..3].iter().all(|count| *count <= 22), "{counts:?}");
    assert_eq!(counts[3], 0, "it is to be empty");
    assert!(favourites > 50, "{favourites}");
    let nobody = Layout::new(candidates(0), []);
    let shard = count.iter().next().unwrap();
    assert_eq!(adopter(&nobody, shard, count, |_| true), None);
}

fn candidate(number: usize, is_open: bool) -> Candidate {
    Candidate {
        worker: name(number),
        capacity: CORE,
        is_open,
    }
}

/// Worker 0 has twice what worker 1 has, in many small shards.
fn uneven() -> Cluster {
    let mut cluster = Cluster::new(2, CORE, 64).with_loads([10_000; 64]);
    for (place, at) in cluster.at.values_mut().enumerate() {
        *at = usize::from(place % 3 == 0);
    }
    cluster
}

#[test]
fn load_moves_after_three_ticks_and_stops_at_half_the_band() {
    let mut cluster = uneven();
    assert_eq!(cluster.round(), vec![]);
    assert_eq!(cluster.round(), vec![]);
    assert_eq!(cluster.round().len(), 2, "two moves a worker");
    cluster.rest();
    assert_eq!(
        cluster.counts(),
        [34, 30],
        "a further move would gain too little"
    );
}

#[test]
fn what_has_little_to_do_is_not_moved_for_its_load() {
    let mut cluster = Cluster::new(2, CORE, 64);
    let busy: Vec<_> = cluster.at.iter().filter(|(_, at)| **at == 0).collect();
    let busy: Vec<_> = busy
        .into_iter()
        .map(|(shard, _)| *shard)
        .step_by(4)
        .collect();
    for shard in &busy {
        cluster.loads.insert(*shard, 50_000);
    }
    let moves = cluster.rest();
    assert!(moves.iter().all(|moved| busy.contains(&moved.shard)));
    assert_eq!(moves.len(), busy.len() / 2);
}

#[test]
fn a_moment_inside_the_band_starts_the_count_anew() {
    let mut cluster = uneven();
    let even = Cluster::new(2, CORE, 64).at;
    let busy = std::mem::replace(&mut cluster.at, even);
    for _ in 0..2 {
        let mut out = cluster.clone();
        out.at = busy.clone();
        out.round();
        out.round();
        out.at = cluster.at.clone();
        assert_eq!(out.round(), vec![]);
        cluster.memory = out.memory;
    }
    cluster.at = busy;
    assert_eq!(cluster.round(), vec![]);
}

#[test]
fn what_was_put_somewhere_on_purpose_stays_a_while() {
    let mut cluster = uneven();
    let mut memory = Memory::default();
    cluster.at.keys().for_each(|shard| memory.rest(*shard));
    cluster.memory = memory;
    let quiet = (0..29)
        .map(|_| cluster.round())
        .all(|moves| moves.is_empty());
    assert!(quiet);
    assert!(!cluster.rest().is_empty());
}

#[test]
fn moves_under_way_count() {
    let cluster = uneven();
    let memory = (0..3).fold(Memory::default(), |memory, _| {
        place(cluster.layout(), Budget::default(), memory.tick()).1
    });
    let begun = |under_way: &[(usize, usize)]| {
        let budget = Budget::beside(under_way.iter().copied());
        place(cluster.layout(), budget, memory.clone().tick())
            .0
            .len()
    };
    assert_eq!(begun(&[(0, 1)]), 1);
    assert_eq!(begun(&[(0, 1), (2, 1)]), 0);
    assert_eq!(begun(&[(2, 3); 8]), 0);
}

#[test]
fn a_worker_of_twice_the_capacity_gets_twice_the_load() {
    let mut cluster = Cluster::new(3, CORE, 64).with_loads([30_000; 64]);
    cluster.workers[0].capacity = 2 * CORE;
    cluster.rest();
    let counts = cluster.counts();
    assert!((29..=34).contains(&counts[0]), "{counts:?}");
}

#[test]
fn what_does_not_report_gets_no_load() {
    let mut cluster = uneven();
    cluster.workers[1].capacity = 0;
    assert_eq!(cluster.rest(), vec![]);
}
