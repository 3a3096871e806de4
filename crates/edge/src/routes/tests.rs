//! Who may change what an edge knows, and that it never goes back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hexagram_core::ShardCount;

use super::*;

fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).unwrap()
}

/// A map of one shard; epoch 0 stands for a static one.
fn map(owner: &str, number: u64) -> ShardMap {
    let owner = worker(owner);
    let epoch = Epoch::new(number);
    ShardMap::new(
        1,
        ShardCount::try_from(1).unwrap(),
        vec![Assignment {
            owner,
            epoch,
            quarantined: false,
        }],
    )
    .unwrap()
}

fn news(number: u64, what: Change) -> News {
    News {
        shard: 0,
        epoch: epoch(number),
        what,
    }
}

/// Owner, epoch and whether the shard is moving.
fn way(routes: &Routes) -> (&str, Option<u64>, bool) {
    let way = &routes.0[0];
    (
        way.owner().as_str(),
        way.epoch().map(Epoch::get),
        way.is_moving(),
    )
}

/// The epoch that every worker has told.
const HELLO: u64 = 2;

fn assign(routes: &mut Routes, name: &str, number: u64) {
    routes.assign(&map(name, number), |_, _| Epoch::new(HELLO));
}

fn greet(routes: &mut Routes, name: &str, number: u64) -> bool {
    routes.greet(&worker(name), |_| Epoch::new(number))
}

#[test]
fn every_source_only_raises() {
    let mut routes = Routes::new(&map("a", 5));
    // A register rolled back.
    assign(&mut routes, "b", 4);
    assert!(!routes.hear(news(5, Change::Serves(worker("b")))));
    assert!(!greet(&mut routes, "b", 5));
    assert_eq!(way(&routes), ("a", Some(5), false));
    assert!(routes.hear(news(6, Change::Serves(worker("b")))));
    assert!(greet(&mut routes, "c", 7));
    assign(&mut routes, "d", 8);
    assert_eq!(way(&routes), ("d", Some(8), false));
}

#[test]
fn a_move_parks_in_its_epoch_only_and_leaves_the_epoch() {
    let mut routes = Routes::new(&map("a", 5));
    assert!(!routes.hear(news(4, Change::Moving)), "a late one");
    assert!(!routes.hear(news(6, Change::Moving)), "not heard of");
    assert!(routes.hear(news(5, Change::Moving)));
    assert_eq!(way(&routes), ("a", Some(5), true));
    assert!(!routes.hear(news(5, Change::Moving)), "no news");
    assert!(routes.hear(news(5, Change::Resumed)));
    assert_eq!(way(&routes), ("a", Some(5), false));
}

#[test]
fn a_new_owner_ends_the_move() {
    let mut routes = Routes::new(&map("a", 5));
    routes.hear(news(5, Change::Moving));
    assert!(routes.hear(news(6, Change::Serves(worker("b")))));
    assert_eq!(way(&routes), ("b", Some(6), false));
}

#[test]
fn an_owner_that_is_linked_again_is_asked_again() {
    for said in [0, 5] {
        let mut routes = Routes::new(&map("a", 5));
        routes.hear(news(5, Change::Moving));
        assert!(!greet(&mut routes, "b", 5), "another worker");
        assert!(greet(&mut routes, "a", said));
        assert_eq!(way(&routes), ("a", Some(5), false));
        assert!(!greet(&mut routes, "a", said), "no news");
    }
}

#[test]
fn a_static_map_decides_who_and_its_owner_the_epoch() {
    let mut routes = Routes::new(&map("a", 0));
    assert_eq!(way(&routes), ("a", None, false));
    assert!(!greet(&mut routes, "b", 9));
    assert!(!routes.hear(news(9, Change::Serves(worker("b")))));
    assert!(greet(&mut routes, "a", 7));
    assert_eq!(way(&routes), ("a", Some(7), false));
    // Its clock was set back before it started again.
    assert!(greet(&mut routes, "a", 3));
    assert_eq!(way(&routes), ("a", Some(3), false));
    assign(&mut routes, "a", 0);
    assert_eq!(way(&routes), ("a", Some(3), false));
    // `b` has said hello already.
    assign(&mut routes, "b", 0);
    assert_eq!(way(&routes), ("b", Some(HELLO), false));
}

#[test]
fn a_shard_that_the_cluster_lacks_is_ignored() {
    let mut routes = Routes::new(&map("a", 5));
    let far = News {
        shard: 64,
        ..news(6, Change::Serves(worker("b")))
    };
    assert!(!routes.hear(far));
}
