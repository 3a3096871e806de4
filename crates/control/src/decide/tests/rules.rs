//! One shard, and who may be given it.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_core::placement::Memory;
use hexagram_core::{Entry, Owner};
use hexagram_proto::admin::Phase::{Absent, Claiming, Frozen, Granted, Serving};

use super::super::{
    Hold, Patience, Refusal, Suspicions, View, Waiting, Why, check_cancel, check_drain, first_map,
    order_move,
};
use crate::fleet::{Fleet, Held};
use crate::testing::{count, epoch, fleet, held, introduced, map, owner, report};

/// What shard 0 becomes.
fn next(entry: &Entry<Owner>, fleet: &Fleet) -> Option<(Entry<Owner>, Why)> {
    let map = map(1, vec![entry.clone()]);
    let view = View {
        map: &map,
        fleet,
        drains: &BTreeMap::new(),
        memory: &Memory::default(),
        suspicions: &Suspicions::default(),
        hold: &Hold::default(),
        now: Duration::ZERO,
    };
    let mut changes = view.decide().changes;
    assert!(changes.len() <= 1);
    changes.pop().map(|change| (change.entry, change.why))
}

fn a() -> Owner {
    owner(0, 1)
}

fn b() -> Owner {
    owner(1, 1)
}

/// A serves in epoch 3; with a move to B it reserves 4.
fn own() -> Entry<Owner> {
    Entry::new(a(), epoch(3))
}

fn moving() -> Entry<Owner> {
    own().move_to(b()).unwrap()
}

fn failed_over(entry: &Entry<Owner>, to: Owner) -> Option<(Entry<Owner>, Why)> {
    Some((entry.fail_over(to).unwrap(), Why::FailedOver))
}

#[test]
fn a_taker_that_serves_is_the_owner() {
    let fleet = fleet(&[(&a(), held(Granted, 4)), (&b(), held(Serving, 4))]);
    let committed = moving().commit(&b(), epoch(4)).unwrap();
    assert_eq!(next(&moving(), &fleet), Some((committed, Why::Committed)));
}

#[test]
fn a_move_is_given_up_by_its_giver_alone_while_the_taker_lives() {
    let waits = fleet(&[(&a(), held(Serving, 3)), (&b(), held(Absent, 0))]);
    assert_eq!(next(&moving(), &waits), None);
    let resumed = Held {
        resumed: Some(epoch(4)),
        ..held(Serving, 3)
    };
    let aborted = Some((moving().abort(epoch(4)).unwrap(), Why::Aborted));
    let gave_up = fleet(&[(&a(), resumed), (&b(), held(Absent, 0))]);
    assert_eq!(next(&moving(), &gave_up), aborted);
    let mut dead = waits;
    dead.suspect(&b());
    assert_eq!(next(&moving(), &dead), None, "suspicion is no death");
    dead.died(&b());
    assert_eq!(next(&moving(), &dead), aborted);
}

#[test]
fn what_was_granted_to_the_dead_goes_back_to_who_has_the_state() {
    let mut fleet = fleet(&[
        (&a(), held(Granted, 4)),
        (&b(), held(Claiming, 4)),
        (&owner(2, 1), held(Absent, 0)),
    ]);
    assert_eq!(next(&moving(), &fleet), None);
    fleet.died(&b());
    assert_eq!(next(&moving(), &fleet), failed_over(&moving(), a()));
    let planless = moving().abort(epoch(4)).unwrap();
    assert_eq!(next(&planless, &fleet), failed_over(&planless, a()));
}

#[test]
fn a_dead_giver_is_followed_by_its_taker_only() {
    let c = owner(2, 1);
    let mut fleet = fleet(&[
        (&a(), held(Granted, 4)),
        (&b(), held(Absent, 0)),
        (&c, held(Absent, 0)),
    ]);
    fleet.died(&a());
    assert_eq!(next(&moving(), &fleet), failed_over(&moving(), b()));
    fleet.suspect(&b());
    assert_eq!(next(&moving(), &fleet), None);
    fleet.died(&b());
    assert_eq!(next(&moving(), &fleet), failed_over(&moving(), c));
}

#[test]
fn a_taker_whose_move_was_given_up_too_late_is_waited_for() {
    let planless = moving().abort(epoch(4)).unwrap();
    for phase in [Claiming, Frozen] {
        let mut fleet = fleet(&[(&a(), held(Granted, 4)), (&b(), held(phase, 4))]);
        assert_eq!(next(&planless, &fleet), None);
        fleet.died(&a());
        assert_eq!(next(&planless, &fleet), failed_over(&planless, b()));
    }
}

#[test]
fn silence_moves_nothing_and_the_next_life_inherits() {
    let mut fleet = fleet(&[(&a(), held(Serving, 3)), (&b(), held(Absent, 0))]);
    assert_eq!(next(&own(), &fleet), None);
    fleet.suspect(&a());
    assert_eq!(next(&own(), &fleet), None);
    let again = owner(0, 2);
    assert_eq!(fleet.join(&introduced(&again)), Ok(true));
    fleet.reported(&again, crate::Report::default());
    assert_eq!(next(&own(), &fleet), failed_over(&own(), again.clone()));
    assert!(fleet.join(&introduced(&a())).is_err());
    fleet.reported(&a(), crate::Report::default());
    assert_eq!(fleet.life(&a()), crate::Life::Dead);
}

#[test]
fn a_register_that_was_rolled_back_goes_above() {
    let heard = Held {
        spent: Some(epoch(9)),
        ..held(Serving, 3)
    };
    let behind = Some((own().above(epoch(9)), Why::Behind));
    assert_eq!(next(&own(), &fleet(&[(&a(), heard)])), behind);
    let elsewhere = fleet(&[(&a(), held(Absent, 0)), (&b(), held(Serving, 7))]);
    let believed = own().above(epoch(7)).commit(&b(), epoch(7)).unwrap();
    assert_eq!(next(&own(), &elsewhere), Some((believed, Why::Committed)));
    let lost = Held {
        spent: Some(epoch(7)),
        ..held(Absent, 0)
    };
    let raised = own().above(epoch(7));
    assert_eq!(
        next(&own(), &fleet(&[(&a(), lost)])),
        failed_over(&raised, a())
    );
    let twice = fleet(&[(&a(), held(Serving, 3)), (&b(), held(Serving, 3))]);
    assert_eq!(next(&own(), &twice), failed_over(&own(), a()));
}

const QUIET: Patience = Patience {
    quiet: Duration::from_secs(1),
    expected: None,
    least: hexagram_core::Epoch::FIRST,
};

#[test]
fn a_new_cluster_begins_when_no_worker_joins_any_more() {
    let mut fleet = fleet(&[(&a(), held(Absent, 0))]);
    let hasty = Patience {
        quiet: Duration::ZERO,
        ..QUIET
    };
    let two = Patience {
        expected: Some(2),
        ..QUIET
    };
    let begun = |fleet: &Fleet, patience| first_map(1, count(1), fleet, patience);
    assert_eq!(begun(&Fleet::default(), QUIET), Err(Waiting::Workers));
    assert_eq!(begun(&fleet, hasty), Err(Waiting::More { joined: 1 }));
    let (wanted, joined) = (2, 1);
    let too_few = Waiting::Expected { wanted, joined };
    assert_eq!(begun(&fleet, two), Err(too_few));
    let first = map(1, vec![Entry::new(a(), epoch(1))]);
    assert_eq!(begun(&fleet, QUIET), Ok(first));
    fleet.join(&introduced(&b())).unwrap();
    let unknown = begun(&fleet, QUIET).unwrap_err();
    let said = unknown.to_string();
    assert_eq!(
        said,
        "for worker-1 to answer, or to be declared dead, for 2 s at most"
    );
}

#[test]
fn a_lost_register_is_learnt_from_who_serves() {
    let hasty = Patience {
        quiet: Duration::ZERO,
        expected: Some(9),
        least: hexagram_core::Epoch::FIRST,
    };
    let serving = fleet(&[(&a(), held(Granted, 4)), (&b(), held(Serving, 4))]);
    let learnt = map(8, vec![Entry::new(b(), epoch(4))]);
    assert_eq!(first_map(8, count(1), &serving, hasty), Ok(learnt));
    let granted = fleet(&[(&a(), held(Granted, 4)), (&b(), held(Absent, 0))]);
    let taker = first_map(8, count(1), &granted, QUIET).unwrap_err();
    let said = taker.to_string();
    assert!(
        said.starts_with("for who serves 1 of 1 shards, such as 0, until none has joined for 5 s"),
        "{said}"
    );
    let patient = Patience {
        quiet: Duration::from_secs(5),
        ..QUIET
    };
    let back = map(8, vec![Entry::new(a(), epoch(5))]);
    assert_eq!(first_map(8, count(1), &granted, patient), Ok(back));
    let ending = crate::Report {
        draining: true,
        ..crate::Report::default()
    };
    let mut leaving = Fleet::default();
    leaving.join(&introduced(&a())).unwrap();
    leaving.reported(&a(), ending);
    assert_eq!(
        first_map(8, count(1), &leaving, patient),
        Err(Waiting::Ending)
    );
}

#[test]
fn orders_are_refused_with_the_reason() {
    let (a, b, dead) = (a(), b(), owner(2, 1));
    let mut fleet = fleet(&[
        (&a, held(Serving, 3)),
        (&b, held(Absent, 0)),
        (&dead, held(Absent, 0)),
    ]);
    fleet.died(&dead);
    let drains = BTreeMap::new();
    let ordered = |entry: Entry<Owner>, shard, to: &Owner, drains: &BTreeMap<_, _>| {
        let map = map(1, vec![entry]);
        let view = View {
            map: &map,
            fleet: &fleet,
            drains,
            memory: &Memory::default(),
            suspicions: &Suspicions::default(),
            hold: &Hold::default(),
            now: Duration::ZERO,
        };
        let change = order_move(&view, shard, &to.worker);
        change.map(|change| change.map(|change| change.entry))
    };
    assert_eq!(ordered(own(), 0, &b, &drains), Ok(Some(moving())));
    assert_eq!(ordered(own(), 0, &a, &drains), Ok(None), "it is there");
    let nobody = owner(9, 1);
    for (result, text) in [
        (ordered(own(), 1, &b, &drains), "no shard 1"),
        (ordered(own(), 0, &nobody, &drains), "worker-0, worker-1"),
        (ordered(own(), 0, &dead, &drains), "does not answer"),
        (
            ordered(moving(), 0, &a, &drains),
            "shard 0 is moving from worker-0 to worker-1 already",
        ),
        (
            ordered(moving(), 0, &b, &drains),
            "shard 0 is moving from worker-0 to worker-1 already",
        ),
        (
            ordered(Entry::new(a.clone(), epoch(4)), 0, &b, &drains),
            "worker-0, the owner of shard 0, does not serve it now",
        ),
        (
            ordered(own(), 0, &b, &[(b.worker.clone(), b.incarnation)].into()),
            "draining",
        ),
    ] {
        let refusal = result.unwrap_err().to_string();
        assert!(refusal.contains(text), "{refusal}");
    }
}

#[test]
fn the_last_worker_is_not_drained() {
    let (a, b) = (a(), b());
    let fleet = fleet(&[(&a, held(Serving, 3)), (&b, held(Absent, 0))]);
    let map = map(1, vec![own()]);
    let (memory, suspicions) = (Memory::default(), Suspicions::default());
    let hold = Hold::default();
    let view = |drains| View {
        map: &map,
        fleet: &fleet,
        drains,
        memory: &memory,
        suspicions: &suspicions,
        hold: &hold,
        now: Duration::ZERO,
    };
    let none = BTreeMap::new();
    assert_eq!(check_drain(&view(&none), &a.worker), Ok(()));
    let other = [(b.worker, b.incarnation)].into();
    let last = check_drain(&view(&other), &a.worker);
    assert_eq!(last, Err(Refusal::Last(a.worker)));
}

#[test]
fn only_an_ordered_drain_can_be_cancelled() {
    let (a, b, dead) = (a(), b(), owner(2, 1));
    let mut fleet = fleet(&[
        (&a, held(Serving, 3)),
        (&b, held(Absent, 0)),
        (&dead, held(Absent, 0)),
    ]);
    let ending = crate::Report {
        draining: true,
        ..crate::Report::default()
    };
    fleet.reported(&b, ending);
    fleet.died(&dead);
    let map = map(1, vec![own()]);
    let cancel = |worker: &Owner, drains: &[&Owner]| {
        let view = View {
            map: &map,
            fleet: &fleet,
            drains: &drains
                .iter()
                .map(|owner| (owner.worker.clone(), owner.incarnation))
                .collect(),
            memory: &Memory::default(),
            suspicions: &Suspicions::default(),
            hold: &Hold::default(),
            now: Duration::ZERO,
        };
        check_cancel(&view, &worker.worker)
    };
    assert_eq!(cancel(&a, &[&a]), Ok(()));
    assert_eq!(
        cancel(&dead, &[&dead]),
        Ok(()),
        "its next life is another's"
    );
    for (refused, text) in [
        (cancel(&a, &[]), "worker worker-0 is not being drained"),
        (
            cancel(&b, &[]),
            "worker worker-1 drains because its process is ending",
        ),
        (
            cancel(&b, &[&b]),
            "worker worker-1 drains because its process is ending",
        ),
        (cancel(&dead, &[]), "worker-2 does not answer"),
        (cancel(&owner(9, 1), &[]), "no worker is called worker-9"),
    ] {
        let refusal = refused.unwrap_err().to_string();
        assert!(refusal.contains(text), "{refusal}");
    }
}

/// The moves that begin where worker 0 has eight shards and worker 1 as many.
fn moves(fleet: &Fleet, drains: &[u8]) -> Vec<Owner> {
    let entry = |shard: u8| Entry::new(owner(shard / 8, 1), epoch(3));
    let map = map(1, (0..16).map(entry).collect());
    let drained = drains.iter().map(|number| {
        let Owner {
            worker,
            incarnation,
        } = owner(*number, 1);
        (worker, incarnation)
    });
    let view = View {
        map: &map,
        fleet,
        drains: &drained.collect(),
        memory: &Memory::default(),
        suspicions: &Suspicions::default(),
        hold: &Hold::default(),
        now: Duration::ZERO,
    };
    let changes = view.decide().changes.into_iter();
    changes
        .filter_map(|change| Some(change.entry.plan()?.to.clone()))
        .collect()
}

/// Workers 0 and 1 with what [`moves`] gives them, and worker 2 with nothing.
fn three() -> Fleet {
    let mut fleet = Fleet::default();
    for number in 0..3 {
        let owner = owner(number, 1);
        let own = (0..16).filter(|shard| shard / 8 == u16::from(number));
        let own = own.map(|shard| (count(16).shard(shard).unwrap(), held(Serving, 3)));
        fleet.join(&introduced(&owner)).unwrap();
        fleet.reported(&owner, report(&own.collect::<Vec<_>>()));
    }
    fleet
}

#[test]
fn shards_of_a_rollout_move_once() {
    let mut fleet = three();
    let to = |moves: Vec<Owner>, number| {
        assert!(!moves.is_empty());
        assert!(moves.iter().all(|to| *to == owner(number, 1)), "{moves:?}");
    };
    // At any other time a new worker is filled.
    to(moves(&fleet, &[]), 2);
    // Worker 0 is replaced by 2, and 1 will be.
    fleet.set_outgoing([0, 1].map(|number| owner(number, 1).worker).into());
    assert_eq!(moves(&fleet, &[]), []);
    to(moves(&fleet, &[0]), 2);
    // Worker 0 is to be replaced, 1 is new, and so is 2: it waits for what 0 has.
    fleet.set_outgoing([owner(0, 1).worker].into());
    assert_eq!(moves(&fleet, &[]), []);
    to(moves(&fleet, &[0]), 2);
    // Where nobody is new, those whose end is near are as good as any.
    fleet.set_outgoing([0, 1, 2].map(|number| owner(number, 1).worker).into());
    to(moves(&fleet, &[]), 2);
}
