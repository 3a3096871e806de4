//! What no order of events may do to a machine alone. What they do together is
//! checked by the model in `crates/sim`.

use proptest::prelude::*;

use super::{Entry, EntryError, Holding, HoldingError, Phase, Plan, Route};
use crate::Epoch;

fn epoch(number: u64) -> Epoch {
    Epoch::new(number).expect("not zero")
}

/// A change of an entry: which, by whom, with which epoch.
type Change = (u8, u8, u64);

fn apply(entry: &Entry<u8>, (what, who, number): Change) -> Result<Entry<u8>, EntryError> {
    match what {
        0 => entry.move_to(who),
        1 => entry.abort(epoch(number)),
        2 => entry.commit(&who, epoch(number)),
        3 => entry.fail_over(who),
        4 => entry.quarantine(),
        _ => Ok(entry.above(epoch(number))),
    }
}

/// What a worker hears or does.
fn step(holding: &mut Holding<u8>, (what, who, number): Change) {
    let epoch = epoch(number);
    let plan = Plan { to: who, epoch };
    // Whatever is refused changes nothing, and that is checked below.
    let _ = match what {
        0 => holding.claim(epoch),
        1 => holding.activate(epoch),
        2 => holding.freeze(plan),
        3 => holding.resume().map(drop),
        4 => holding.grant().map(drop),
        5 => holding.decline(epoch),
        6 => {
            holding.taken(epoch);
            Ok(())
        }
        _ => {
            holding.superseded(epoch);
            Ok(())
        }
    };
}

fn changes(kinds: u8) -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((0..kinds, 0u8..3, 1u64..12), 0..40)
}

proptest! {
    #[test]
    fn an_entrys_epochs_only_grow(changes in changes(6)) {
        let mut entry = Entry::new(0u8, Epoch::FIRST);
        let mut reserved = Vec::new();
        for change in changes {
            let Ok(next) = apply(&entry, change) else { continue };
            prop_assert!(next.epoch() >= entry.epoch() && next.spent() >= entry.spent());
            prop_assert!(next.spent() >= next.epoch());
            if next.epoch() == entry.epoch() {
                prop_assert_eq!(next.owner(), entry.owner(), "one owner in an epoch");
            }
            if let Some(plan) = next.plan().filter(|_| entry.plan().is_none()) {
                prop_assert!(plan.epoch > entry.spent(), "no epoch is reserved twice");
                reserved.push(plan.epoch);
            }
            if next.is_quarantined() {
                prop_assert!(next.plan().is_none(), "nobody is to get it");
                prop_assert!(next.commit(next.owner(), next.epoch()).is_err(), "nor to have it");
            }
            let restored = Entry::restore(*next.owner(), next.epoch(), next.plan().cloned(), next.spent())
                .and_then(|entry| entry.restore_quarantine(next.is_quarantined()));
            prop_assert_eq!(restored.as_ref(), Some(&next), "what is stored is read again");
            entry = next;
        }
        prop_assert!(reserved.is_sorted());
    }

    #[test]
    fn a_worker_serves_no_epoch_up_to_one_it_gave_away(steps in changes(8)) {
        let mut holding = Holding::default();
        let mut gave = None;
        for change in steps {
            let before = (holding.serving(), holding.spent());
            step(&mut holding, change);
            if let Phase::Granted(plan) = holding.phase() {
                gave = gave.max(Some(plan.epoch));
            }
            prop_assert!(holding.spent() >= before.1);
            if let Some(serving) = holding.serving() {
                prop_assert!(Some(serving) > gave);
                prop_assert!(holding.spent() >= Some(serving));
            }
        }
    }

    #[test]
    fn a_route_never_goes_back(news in changes(3)) {
        let mut route = Route::new(0u8, None);
        for (what, who, number) in news {
            let before = route.clone();
            let heard = match what {
                0 => route.learn(who, epoch(number)),
                1 => route.moving(epoch(number)),
                _ => route.resumed(epoch(number)),
            };
            prop_assert_eq!(heard, route != before);
            prop_assert!(route.epoch() >= before.epoch());
            prop_assert!(what == 0 || route.epoch() == before.epoch(), "moving raises nothing");
        }
    }
}

#[test]
fn a_move_ends_at_its_taker_or_where_it_was() {
    let start = Entry::new('a', epoch(5));
    let moving = start.move_to('c').expect("planned");
    assert_eq!(moving.move_to('b'), Err(EntryError::Moving));
    assert_eq!(start.move_to('a'), Err(EntryError::Owner));
    let ended = moving.commit(&'c', epoch(6)).expect("committed");
    assert_eq!(
        (*ended.owner(), ended.epoch(), ended.plan()),
        ('c', epoch(6), None)
    );
    let aborted = moving.abort(epoch(6)).expect("aborted");
    assert_eq!((*aborted.owner(), aborted.epoch()), ('a', epoch(5)));
    let again = aborted.move_to('b').expect("planned again");
    assert_eq!(
        again.plan().map(|plan| plan.epoch),
        Some(epoch(7)),
        "6 is burnt"
    );
    assert_eq!(
        moving.fail_over('b').map(|entry| entry.epoch()),
        Ok(epoch(7))
    );
}

#[test]
fn a_report_is_believed_only_of_what_was_given() {
    let moving = Entry::new('a', epoch(5)).move_to('c').expect("planned");
    assert_eq!(
        moving.commit(&'b', epoch(6)),
        Err(EntryError::NeverGiven(epoch(6)))
    );
    assert_eq!(
        moving.commit(&'c', epoch(9)),
        Err(EntryError::NeverGiven(epoch(9)))
    );
    assert_eq!(
        moving.commit(&'c', epoch(4)),
        Err(EntryError::Stale(epoch(4)))
    );
    assert_eq!(
        moving.commit(&'b', epoch(5)),
        Err(EntryError::Stale(epoch(5)))
    );
    let late = moving.abort(epoch(6)).expect("aborted");
    assert!(
        late.commit(&'c', epoch(6)).is_ok(),
        "it was granted in time"
    );
    let exhausted = Entry::new('a', epoch(u64::MAX));
    assert_eq!(exhausted.move_to('b'), Err(EntryError::Exhausted));
}

#[test]
fn a_frozen_owner_may_resume_and_a_granted_one_never() {
    let mut holding = Holding::default();
    let plan = |number| Plan {
        to: 'c',
        epoch: epoch(number),
    };
    assert_eq!(holding.freeze(plan(2)), Err(HoldingError::NotServing));
    holding.claim(epoch(1)).expect("a first epoch");
    holding.activate(epoch(1)).expect("claimed");
    holding.freeze(plan(2)).expect("frozen");
    assert_eq!(holding.resume(), Ok(epoch(1)));
    assert_eq!(holding.freeze(plan(2)), Err(HoldingError::Spent(epoch(2))));
    holding.freeze(plan(3)).expect("frozen for another plan");
    holding.grant().expect("granted");
    assert_eq!(holding.resume(), Err(HoldingError::NotFrozen));
    assert!(!holding.taken(epoch(2)), "another move's");
    assert!(holding.taken(epoch(3)) && !holding.taken(epoch(3)));
    assert_eq!(holding.claim(epoch(3)), Err(HoldingError::Spent(epoch(3))));
    assert!(holding.claim(epoch(4)).is_ok());
}
