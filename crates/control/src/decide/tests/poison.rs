//! Workers that die of a shard, and shards whose own code fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hexagram_core::{Owner, ShardId, WorkerId};
use proptest::prelude::*;

use super::super::{Refusal, View, Why, order_move};
use super::cluster::{Cluster, LOOK, SHARDS};
use crate::testing::{count, epoch, held, owner};

use hexagram_proto::admin::Phase;

/// Between two decisions where workers have news.
const NEWS: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

fn shard(number: u16) -> ShardId {
    count(SHARDS).shard(number).unwrap()
}

fn quarantined(cluster: &Cluster) -> Vec<ShardId> {
    let entries = cluster.map.entries();
    let withheld = entries.filter(|(_, entry)| entry.is_quarantined());
    withheld.map(|(shard, _)| shard).collect()
}

/// Three workers with their shards, a while ago.
fn three() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.rise(1);
    cluster.rise(2);
    while cluster.round() {}
    cluster.now += 1_000 * LOOK;
    cluster.look = NEWS;
    cluster
}

/// The shards that are on trial.
fn tried(cluster: &Cluster) -> Vec<ShardId> {
    let all = count(SHARDS).iter();
    all.filter(|shard| cluster.suspicions.is_tried(*shard, cluster.now))
        .collect()
}

/// Decides until every shard is served; gives how long that took.
fn until_served(cluster: &mut Cluster) -> Duration {
    let since = cluster.now;
    let waits = |cluster: &Cluster| {
        let mut all = count(SHARDS).iter();
        all.any(|shard| cluster.serves(shard).is_none())
    };
    while waits(cluster) {
        cluster.round();
        assert!(cluster.now - since < MINUTE, "somebody waits for ever");
    }
    cluster.now - since
}

fn name(number: u8) -> WorkerId {
    owner(number, 1).worker
}

/// A shard that kills whoever has served it for so many rounds.
struct Poison {
    shard: ShardId,
    takes: u32,
    served: Option<(Owner, u32)>,
    deaths: u32,
}

impl Poison {
    fn new(shard: ShardId, takes: u32) -> Self {
        Self {
            shard,
            takes,
            served: None,
            deaths: 0,
        }
    }

    /// A round and what the poison does in it; the dead come back at once.
    fn round(&mut self, cluster: &mut Cluster) {
        cluster.round();
        let holder = cluster.serves(self.shard);
        let rounds = match (&self.served, &holder) {
            (Some((before, rounds)), Some(now)) if before == now => rounds + 1,
            _ => 0,
        };
        self.served = holder.map(|owner| (owner, rounds));
        if let Some((owner, _)) = self.served.take_if(|(_, rounds)| *rounds >= self.takes) {
            self.deaths += 1;
            let number = owner.worker.as_str().trim_start_matches("worker-").parse();
            let number = number.unwrap();
            cluster.die(number);
            cluster.rise(number);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn what_kills_its_owners_is_found_and_nothing_else_is_blamed(
        number in 0..SHARDS, takes in 0..20_u32,
    ) {
        let mut cluster = three();
        let mut poison = Poison::new(shard(number), takes);
        for _ in 0..2_000 {
            poison.round(&mut cluster);
            let found = quarantined(&cluster);
            prop_assert!(found.iter().all(|shard| *shard == poison.shard), "{found:?}");
            if !found.is_empty() {
                break;
            }
        }
        prop_assert_eq!(quarantined(&cluster), vec![poison.shard], "{} deaths", poison.deaths);
        let most = if takes == 0 { 4 } else { 16 };
        prop_assert!(poison.deaths <= most, "{} deaths", poison.deaths);
        for _ in 0..100 {
            cluster.round();
        }
        for number in (0..SHARDS).filter(|other| *other != number) {
            prop_assert!(cluster.serves(shard(number)).is_some(), "{number} is served");
        }
    }

    #[test]
    fn a_worker_has_one_suspect_on_trial(number in 0..SHARDS, takes in 0..8_u32) {
        let mut cluster = three();
        let mut poison = Poison::new(shard(number), takes);
        for _ in 0..300 {
            poison.round(&mut cluster);
            let tried = tried(&cluster).into_iter();
            let owners: Vec<_> = tried.map(|shard| cluster.map.entry(shard).owner().clone()).collect();
            let different: BTreeSet<_> = owners.iter().collect();
            prop_assert_eq!(different.len(), owners.len());
        }
    }

    #[test]
    fn workers_that_are_killed_in_turn_are_replaced_at_once(
        order in Just([0, 1, 2]).prop_shuffle(),
    ) {
        let mut cluster = three();
        for worker in order {
            cluster.die(worker);
            let took = until_served(&mut cluster);
            prop_assert!(took < Duration::from_secs(1), "{took:?}");
            cluster.rise(worker);
            while cluster.round() {}
        }
        prop_assert_eq!(quarantined(&cluster), vec![]);
    }

    #[test]
    fn a_worker_that_is_killed_during_a_trial_costs_no_shard(pause in 0..20_u32, worker in 0..3_u8) {
        let mut cluster = three();
        for victim in [worker, (worker + 1) % 3] {
            cluster.die(victim);
            until_served(&mut cluster);
            cluster.rise(victim);
            while !tried(&cluster).is_empty() {
                cluster.round();
            }
        }
        cluster.die((worker + 2) % 3);
        cluster.round();
        let tried = tried(&cluster);
        prop_assert!(!tried.is_empty());
        let owner = cluster.map.entry(tried[0]).owner().worker.clone();
        let owner = (0..3).find(|number| name(*number) == owner).unwrap();
        cluster.die(owner);
        for _ in 0..=pause {
            cluster.round();
        }
        cluster.rise(owner);
        until_served(&mut cluster);
        prop_assert_eq!(quarantined(&cluster), vec![]);
    }

    #[test]
    fn who_was_told_to_end_accuses_nothing(ends in prop::collection::vec((0..3_u8, any::<bool>()), 1..12)) {
        let mut cluster = three();
        for (worker, says_so) in ends {
            match says_so {
                true => {
                    let owner = cluster.vanish(worker).expect("it lives");
                    cluster.fleet.left(&owner);
                }
                false => {
                    let owner = cluster.end(worker).expect("it lives");
                    cluster.fleet.died(&owner);
                }
            }
            cluster.round();
            prop_assert_eq!(until_served(&mut cluster), Duration::ZERO);
            prop_assert_eq!(tried(&cluster), vec![]);
            cluster.rise(worker);
            while cluster.round() {}
        }
        prop_assert_eq!(quarantined(&cluster), vec![]);
    }

    #[test]
    fn deaths_that_are_far_apart_blame_nothing(deaths in prop::collection::vec(0..3_u8, 1..6)) {
        let mut cluster = three();
        for worker in deaths {
            cluster.now += 41 * LOOK;
            cluster.die(worker);
            cluster.round();
            let waits = count(SHARDS).iter().filter(|shard| cluster.serves(*shard).is_none());
            prop_assert_eq!(waits.count(), 0, "others take over at once");
            cluster.rise(worker);
            while cluster.round() {}
        }
        prop_assert_eq!(quarantined(&cluster), vec![]);
    }
}

#[test]
fn workers_that_die_at_once_blame_nothing() {
    let mut cluster = three();
    cluster.rise(3);
    while cluster.round() {}
    let dead: Vec<_> = (0..3).map(|number| cluster.vanish(number)).collect();
    for owner in dead.iter().flatten() {
        cluster.fleet.died(owner);
        cluster.round();
    }
    assert_eq!(tried(&cluster), vec![]);
    assert_eq!(until_served(&mut cluster), Duration::ZERO);
    assert_eq!(cluster.count(3), usize::from(SHARDS));
}

/// A cluster that has put this shard in quarantine.
fn withheld(number: u16) -> Cluster {
    let mut cluster = three();
    let mut poison = Poison::new(shard(number), 0);
    while quarantined(&cluster).is_empty() {
        poison.round(&mut cluster);
    }
    while cluster.round() {}
    cluster
}

#[test]
fn quarantine_ends_after_ten_minutes_and_begins_again_with_one_death() {
    let mut cluster = withheld(5);
    let since = cluster.now;
    while quarantined(&cluster) == [shard(5)] {
        cluster.now += 19 * LOOK;
        cluster.round();
    }
    let lasted = (cluster.now - since).as_secs();
    assert!((590..=606).contains(&lasted), "{lasted} s");
    let mut poison = Poison::new(shard(5), 0);
    while quarantined(&cluster).is_empty() {
        poison.round(&mut cluster);
    }
    assert!(poison.deaths <= 1, "{}", poison.deaths);
}

#[test]
fn a_worker_that_joins_or_drains_gets_nothing_of_what_is_withheld() {
    let mut cluster = withheld(5);
    cluster.rise(3);
    cluster.drain(owner(0, 1));
    while cluster.round() {}
    assert_eq!(quarantined(&cluster), [shard(5)]);
    let own = |number| cluster.count(number);
    assert_eq!(own(0), 0);
    assert_eq!(own(1) + own(2) + own(3), usize::from(SHARDS) - 1);
    assert!(
        own(3) > 8,
        "a shard that nobody serves keeps no worker from its share"
    );
}

#[test]
fn somebody_who_moves_it_ends_the_quarantine() {
    let mut cluster = withheld(5);
    let order = |cluster: &Cluster, to: u8| order_move(&cluster.view(), 5, &owner(to, 1).worker);
    let nobody = order(&cluster, 9);
    assert!(matches!(nobody, Err(Refusal::UnknownWorker { .. })));
    let last = cluster.map.entry(shard(5)).owner().worker.clone();
    let number = (0..3)
        .find(|number| owner(*number, 1).worker == last)
        .unwrap();
    let change = order(&cluster, number).expect("also to the worker that had it last");
    let change = change.expect("it is not served there");
    assert_eq!(change.why, Why::Ordered);
    cluster.apply(&[change]);
    assert_eq!(quarantined(&cluster), []);
    assert!(cluster.serves(shard(5)).is_some());
    let mut poison = Poison::new(shard(5), 0);
    while quarantined(&cluster).is_empty() {
        poison.round(&mut cluster);
    }
    assert_eq!(poison.deaths, 1, "it was on trial");
}

#[test]
fn a_shard_that_fails_is_restarted_where_it_is_five_times() {
    let mut cluster = three();
    let entry = |cluster: &Cluster| cluster.map.entry(shard(5)).clone();
    let first = entry(&cluster);
    for restart in 1..=5 {
        cluster.fail(shard(5));
        assert!(cluster.round());
        let now = entry(&cluster);
        assert_eq!(now.owner(), first.owner());
        assert_eq!(now.epoch().get(), first.epoch().get() + restart);
        assert_eq!(cluster.serves(shard(5)).as_ref(), Some(first.owner()));
        assert!(!cluster.round(), "nothing else changes");
    }
    cluster.fail(shard(5));
    cluster.round();
    assert_eq!(quarantined(&cluster), [shard(5)]);
    assert_eq!(cluster.serves(shard(5)), None);
    assert!(cluster.count(0) > 0 && cluster.count(1) > 0 && cluster.count(2) > 0);
}

#[test]
fn restarts_that_are_far_apart_are_not_counted() {
    let mut cluster = three();
    for _ in 0..20 {
        cluster.now += 60 * LOOK;
        cluster.fail(shard(5));
        cluster.round();
    }
    assert_eq!(quarantined(&cluster), []);
}

#[test]
fn a_shard_that_moves_is_left_to_its_move() {
    let entry = hexagram_core::Entry::new(owner(0, 1), epoch(3))
        .move_to(owner(1, 1))
        .unwrap();
    let map = crate::testing::map(1, vec![entry]);
    let failed = crate::Held {
        failed: Some(epoch(3)),
        ..held(Phase::Serving, 3)
    };
    let fleet = crate::testing::fleet(&[
        (&owner(0, 1), failed),
        (&owner(1, 1), held(Phase::Absent, 0)),
    ]);
    let view = View {
        map: &map,
        fleet: &fleet,
        drains: &BTreeMap::new(),
        memory: &hexagram_core::placement::Memory::default(),
        suspicions: &super::super::Suspicions::default(),
        hold: &super::super::Hold::default(),
        now: LOOK,
    };
    assert_eq!(view.decide().changes, []);
}
