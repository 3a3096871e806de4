//! Whose silence is believed: a controller that is cut off takes nothing from workers that
//! serve on, and one that is not gives the shards of the dead away in time.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::Owner;
use proptest::prelude::*;

use super::super::Hold;
use super::cluster::{Cluster, SHARDS};
use crate::fleet::Fleet;
use crate::testing::{introduced, owner};

const SECOND: Duration = Duration::from_secs(1);
/// For so long nobody is heard again before silence is believed.
const BOUND: Duration = Duration::from_secs(4);
/// In which all are heard again.
const OTHERS: Duration = Duration::from_secs(4);

/// Workers that are heard, and whose silence is believed.
struct Scene {
    fleet: Fleet,
    hold: Hold,
    now: Duration,
}

impl Scene {
    fn new(workers: u8) -> Self {
        let mut fleet = Fleet::default();
        for worker in 0..workers {
            fleet.join(&introduced(&owner(worker, 1))).unwrap();
            fleet.reported(&owner(worker, 1), crate::Report::default());
        }
        let (hold, now) = (Hold::default(), Duration::ZERO);
        Self { fleet, hold, now }
    }

    /// What happens, so much later.
    fn after(&mut self, time: Duration, happens: impl FnOnce(&mut Fleet)) {
        self.now += time;
        happens(&mut self.fleet);
        self.hold.look(&self.fleet, self.now);
    }

    /// These are silent together, and found dead by that a second later.
    fn lose(&mut self, workers: &[u8]) {
        for worker in workers {
            self.after(Duration::ZERO, |fleet| fleet.suspect(&owner(*worker, 1)));
        }
        self.after(SECOND, |_| {});
        for worker in workers {
            self.after(Duration::ZERO, |fleet| {
                fleet.fell_silent(&owner(*worker, 1));
            });
        }
    }

    fn hear(&mut self, worker: u8) {
        let worker = owner(worker, 1);
        self.after(Duration::ZERO, |fleet| {
            fleet.reported(&worker, crate::Report::default());
        });
    }

    fn holds(&self, worker: u8) -> bool {
        self.hold.holds(&owner(worker, 1))
    }
}

#[test]
fn one_of_two_and_a_node_of_three_are_believed_at_once() {
    for (workers, lost) in [(2, vec![1]), (3, vec![2]), (6, vec![4, 5]), (4, vec![2, 3])] {
        let mut scene = Scene::new(workers);
        scene.lose(&lost);
        assert!(!scene.hold.is_on(), "{lost:?} of {workers}");
    }
}

#[test]
fn most_of_them_are_held_until_the_bound() {
    let mut scene = Scene::new(3);
    scene.lose(&[1, 2]);
    assert!(scene.holds(1) && scene.holds(2));
    scene.after(BOUND - SECOND, |_| {});
    assert!(scene.holds(1));
    scene.after(SECOND, |_| {});
    assert!(!scene.hold.is_on());
    scene.after(SECOND, |_| {});
    assert!(!scene.hold.is_on(), "what is believed is not doubted again");
}

#[test]
fn who_is_found_dead_first_is_held_for_those_that_are_only_silent() {
    let mut scene = Scene::new(3);
    for worker in [1, 2] {
        scene.after(Duration::ZERO, |fleet| fleet.suspect(&owner(worker, 1)));
    }
    scene.after(SECOND, |fleet| fleet.fell_silent(&owner(1, 1)));
    assert!(scene.holds(1));
}

#[test]
fn the_others_have_time_once_one_is_heard_again() {
    let mut scene = Scene::new(4);
    scene.lose(&[1, 2, 3]);
    scene.after(3 * SECOND, |_| {});
    scene.hear(1);
    scene.after(OTHERS - SECOND, |_| {});
    assert!(scene.holds(2) && scene.holds(3));
    scene.hear(2);
    scene.after(SECOND, |_| {});
    assert!(!scene.holds(3), "it had its time");
}

#[test]
fn who_is_heard_first_after_nobody_was_gets_nothing_at_once() {
    let mut scene = Scene::new(3);
    scene.lose(&[0, 1, 2]);
    scene.after(100 * BOUND, |_| {});
    assert!(scene.holds(0), "nobody could take its shards");
    scene.hear(0);
    assert!(scene.holds(1) && scene.holds(2));
    scene.after(OTHERS, |_| {});
    assert!(!scene.holds(1) && !scene.holds(2));
}

#[test]
fn nobody_is_given_up_while_nobody_is_heard_any_more() {
    let mut scene = Scene::new(2);
    scene.lose(&[0, 1]);
    scene.hear(0);
    scene.lose(&[0]);
    scene.after(2 * OTHERS, |_| {});
    scene.hear(1);
    assert!(scene.holds(0));
}

#[test]
fn who_is_dead_beyond_doubt_is_not_held() {
    let mut scene = Scene::new(4);
    scene.lose(&[1, 2, 3]);
    scene.after(SECOND, |fleet| fleet.died(&owner(1, 1)));
    assert!(!scene.holds(1) && scene.holds(2));
    let next = introduced(&owner(2, 2));
    scene.after(SECOND, |fleet| assert_eq!(fleet.join(&next), Ok(true)));
    assert!(!scene.holds(2) && scene.holds(3));
}

#[test]
fn who_was_silent_for_long_weighs_nothing() {
    let mut scene = Scene::new(3);
    // It lives, and does not trust this controller.
    scene.after(SECOND, |fleet| fleet.suspect(&owner(1, 1)));
    scene.after(10 * SECOND, |_| {});
    scene.lose(&[2]);
    assert!(!scene.hold.is_on());
}

#[test]
fn who_has_only_just_joined_is_not_silent() {
    let mut scene = Scene::new(3);
    for worker in [3, 4] {
        let new = introduced(&owner(worker, 1));
        scene.after(Duration::ZERO, |fleet| {
            assert_eq!(fleet.join(&new), Ok(true));
        });
    }
    scene.lose(&[2]);
    assert!(!scene.hold.is_on());
}

/// Shards of three workers, two of which the controller hears no more.
#[test]
fn shards_of_those_that_are_held_stay_where_they_are() {
    let mut cluster = Cluster::new();
    cluster.rise(1);
    cluster.rise(2);
    while cluster.round() {}
    let before = cluster.map.clone();
    let lost = [1, 2].map(|worker| cluster.vanish(worker).expect("it lives"));
    for owner in &lost {
        cluster.fleet.suspect(owner);
    }
    cluster.round();
    for owner in &lost {
        cluster.fleet.fell_silent(owner);
    }
    let since = cluster.now;
    while cluster.now < since + BOUND {
        assert!(!cluster.round(), "a shard moves");
    }
    assert_eq!(cluster.map, before);
    assert!(cluster.round(), "nobody came back");
    assert_eq!(cluster.count(0), usize::from(SHARDS));
}

#[derive(Clone, Debug)]
enum Happens {
    Heard(u8),
    Suspected(u8),
    FellSilent(u8),
    Died(u8),
    Passes(u64),
}

fn anything() -> impl Strategy<Value = Happens> {
    let worker = 1..5_u8;
    prop_oneof![
        worker.clone().prop_map(Happens::Heard),
        worker.clone().prop_map(Happens::Suspected),
        worker.clone().prop_map(Happens::FellSilent),
        worker.prop_map(Happens::Died),
        (0..5_000_u64).prop_map(Happens::Passes),
    ]
}

impl Happens {
    fn to(&self, scene: &mut Scene) {
        match *self {
            Self::Heard(worker) => scene.hear(worker),
            Self::Suspected(worker) => {
                scene.after(Duration::ZERO, |fleet| fleet.suspect(&owner(worker, 1)));
            }
            Self::FellSilent(worker) => {
                scene.after(Duration::ZERO, |fleet| fleet.fell_silent(&owner(worker, 1)));
            }
            Self::Died(worker) => {
                scene.after(Duration::ZERO, |fleet| fleet.died(&owner(worker, 1)));
            }
            Self::Passes(millis) => scene.after(Duration::from_millis(millis), |_| {}),
        }
    }
}

proptest! {
    /// Somebody reports all the time: nobody's shards wait longer than the bound, and for others
    /// once one is heard, and only those of workers that are silent.
    #[test]
    fn nobody_is_held_for_ever(happenings in prop::collection::vec(anything(), 0..60)) {
        let mut scene = Scene::new(5);
        let mut dead: BTreeMap<Owner, Duration> = BTreeMap::new();
        for happens in &happenings {
            happens.to(&mut scene);
            dead.retain(|owner, _| scene.fleet.is_silent(owner));
            for worker in 0..5 {
                let worker = owner(worker, 1);
                if scene.fleet.is_silent(&worker) {
                    dead.entry(worker.clone()).or_insert(scene.now);
                }
                if scene.hold.holds(&worker) {
                    prop_assert!(scene.fleet.is_unheard(&worker));
                    let since = dead.get(&worker).copied().unwrap_or(scene.now);
                    prop_assert!(scene.now - since < BOUND + OTHERS);
                }
            }
        }
    }

    /// The controller is cut off from all, or from most but `near` on its own node, for less
    /// than the bound then. It hears all others again within seconds of the first one.
    #[test]
    fn a_controller_that_is_cut_off_takes_nothing(
        near in 0..2_u8,
        far in 2..6_u8,
        last_reports in prop::collection::vec(0..1_000_u64, 6),
        returns in prop::collection::vec(0..4_000_u64, 6),
        lasts in 5_000..15_000_u64,
    ) {
        let first = returns[..usize::from(far)].iter().min().copied().unwrap_or_default();
        let lasts = match near {
            0 => lasts,
            _ => 5_000 + lasts % 3_000,
        };
        let mut scene = Scene::new(near + far);
        let workers = || (near..near + far).zip(last_reports.iter().zip(&returns));
        let happenings = workers().flat_map(|(worker, (last, back))| [
            (3_000 + last, 0, Happens::Suspected(worker)),
            (4_000 + last, 1, Happens::FellSilent(worker)),
            (lasts + back - first, 2, Happens::Heard(worker)),
        ]);
        let mut happenings: Vec<_> = happenings.collect();
        happenings.sort_by_key(|(at, order, _)| (*at, *order));
        for (at, _, happens) in happenings {
            scene.now = Duration::from_millis(at);
            happens.to(&mut scene);
            for (worker, _) in workers() {
                let worker = owner(worker, 1);
                let is_lost = scene.fleet.is_silent(&worker) && !scene.hold.holds(&worker);
                prop_assert!(!is_lost, "{worker} loses its shards after {at} ms");
            }
        }
        prop_assert!(!scene.hold.is_on(), "all are heard");
    }
}
