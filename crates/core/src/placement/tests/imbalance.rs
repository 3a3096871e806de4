//! What the imbalance of a layout says, and where it says nothing.

use proptest::prelude::*;

use super::cluster::Cluster;

const CORE: u64 = 1_000_000;

/// Two workers with 32 shards each. Every shard of a worker has the same load.
fn two(first: u64, second: u64) -> Cluster {
    let cluster = Cluster::new(2, CORE, 64);
    let owners = cluster.at.values();
    let loads: Vec<_> = owners.map(|at| [first, second][*at]).collect();
    cluster.with_loads(loads)
}

/// To three places.
fn imbalance(cluster: &Cluster) -> Option<f64> {
    let ratio = cluster.layout().imbalance();
    ratio.map(|ratio| (ratio * 1000.0).round() / 1000.0)
}

#[test]
fn it_is_unknown_while_nobody_has_much_to_do() {
    assert_eq!(imbalance(&two(0, 0)), None);
    assert_eq!(imbalance(&two(6_000, 0)), None, "19 % of a worker");
    assert_eq!(imbalance(&two(6_300, 6_300)), Some(1.0), "20 % of each");
}

#[test]
fn it_is_the_busiest_for_the_mean_of_all() {
    assert_eq!(imbalance(&two(10_000, 10_000)), Some(1.0));
    assert_eq!(imbalance(&two(30_000, 10_000)), Some(1.5));
    assert_eq!(imbalance(&two(0, 20_000)), Some(2.0));
}

#[test]
fn each_is_held_against_what_it_can_do() {
    let mut cluster = two(10_000, 10_000);
    cluster.workers[0].capacity = 2 * CORE;
    assert_eq!(imbalance(&cluster), Some(1.5));
    let mut cluster = two(20_000, 10_000);
    cluster.workers[0].capacity = 2 * CORE;
    assert_eq!(imbalance(&cluster), Some(1.0));
}

#[test]
fn it_is_unknown_where_one_does_not_say_what_it_can_do() {
    let mut cluster = two(30_000, 10_000);
    cluster.workers[1].capacity = 0;
    assert_eq!(imbalance(&cluster), None);
}

proptest! {
    #[test]
    fn it_is_known_exactly_where_somebody_is_busy(
        workers in 1..12_usize,
        loads in prop::collection::vec(0..40_000_u64, 64),
    ) {
        let cluster = Cluster::new(workers, CORE, 64).with_loads(loads);
        let busiest = cluster.carried().into_iter().max().unwrap();
        let ratio = cluster.layout().imbalance();
        prop_assert_eq!(ratio.is_some(), busiest >= CORE / 5);
        if let Some(ratio) = ratio {
            prop_assert!((ratio - cluster.imbalance()).abs() < 1e-9);
        }
    }
}
