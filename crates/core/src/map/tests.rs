//! Worker names, and questions to a shard map.

use std::collections::BTreeMap;

use crate::{Assignment, Epoch, ShardCount, ShardMap, ShardMapError, WorkerId};

fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

/// Four shards: a, b, a, a.
fn map() -> ShardMap {
    let assign = |name| Assignment {
        owner: worker(name),
        epoch: Some(Epoch::FIRST),
        quarantined: false,
    };
    let count = ShardCount::try_from(4).unwrap();
    ShardMap::new(7, count, ["a", "b", "a", "a"].map(assign).to_vec()).unwrap()
}

#[test]
fn a_map_answers_by_shard_and_by_worker() {
    let map = map();
    assert_eq!((map.version(), map.count().get()), (7, 4));
    let second = map.count().shard(1).unwrap();
    assert_eq!(map.assignment(second).owner, worker("b"));
    let owned = map.owned_by(&worker("a")).into_iter();
    assert_eq!(
        owned.map(|shard| shard.get()).collect::<Vec<_>>(),
        [0, 2, 3]
    );
    assert_eq!(map.owned_by(&worker("c")), []);
    let summary = BTreeMap::from([(worker("a"), 3), (worker("b"), 1)]);
    assert_eq!(map.shards_per_worker(), summary);
}

#[test]
fn a_map_has_one_assignment_per_shard() {
    let count = ShardCount::try_from(4).unwrap();
    let one = Assignment {
        owner: worker("a"),
        epoch: None,
        quarantined: false,
    };
    for given in [0, 3, 5] {
        let error = ShardMapError::WrongLength { count, given };
        assert_eq!(
            ShardMap::new(1, count, vec![one.clone(); given]),
            Err(error)
        );
    }
}

#[test]
fn worker_names_are_dns_labels() {
    let longest = "w".repeat(63);
    for name in ["0", "worker-0", "a--b", longest.as_str()] {
        assert_eq!(worker(name).to_string(), name);
    }
    let long = "w".repeat(64);
    for name in [
        "",
        "-a",
        "a-",
        "-",
        "Worker",
        "a.b",
        "a_b",
        "a b",
        "é",
        long.as_str(),
    ] {
        let error = name.parse::<WorkerId>().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("{name:?} is no worker name"))
        );
    }
}

#[test]
fn a_fingerprint_tells_owners_apart_and_nothing_else() {
    let count = ShardCount::try_from(2).unwrap();
    let of = |version, epoch, names: [&str; 2]| {
        let assign = |name| Assignment {
            owner: worker(name),
            epoch,
            quarantined: false,
        };
        let assignments = names.map(assign).to_vec();
        ShardMap::new(version, count, assignments)
            .unwrap()
            .fingerprint()
    };
    let print = of(1, None, ["a", "b"]);
    assert_eq!(print, of(2, Some(Epoch::FIRST), ["a", "b"]));
    assert_ne!(print, of(1, None, ["b", "a"]));
    assert_ne!(print, of(1, None, ["ab", "b"]));
    assert_ne!(of(1, None, ["a", "bc"]), of(1, None, ["ab", "c"]));
}

/// Processes of neighbouring releases compare it.
#[test]
fn a_fingerprint_never_changes() {
    assert_eq!(map().fingerprint(), 5_917_262_270_846_527_471);
}
