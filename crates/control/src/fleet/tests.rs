//! Who is taken in, and who is not.

use super::*;
use crate::testing::{epoch, introduced, map, owner};

#[test]
fn a_worker_that_dies_again_and_again_fills_no_memory() {
    let mut fleet = Fleet::default();
    let last = owner(0, 200);
    let named = map(1, vec![hexagram_core::Entry::new(owner(0, 3), epoch(1))]);
    for life in 1..=200 {
        fleet.join(&introduced(&owner(0, life))).expect("it is new");
        fleet.reported(&owner(0, life), Report::default());
        fleet.forget(&named);
    }
    assert_eq!(fleet.members().count(), EARLIER + 2);
    assert_eq!(fleet.life(&last), Life::Alive);
    assert!(fleet.successor(&owner(0, 3)), "the map names it still");
    assert!(fleet.join(&introduced(&owner(0, 199))).is_err());
}

fn with_keys(worker: u8, keys: &[u64], again: bool) -> Introduction {
    let keys = keys.to_vec();
    Introduction {
        setup: Setup { keys, store: None },
        again,
        ..introduced(&owner(worker, 1))
    }
}

#[test]
fn who_came_to_a_restarted_controller_first_does_not_keep_the_members_out() {
    let mut fleet = Fleet::default();
    let [misfit, member] = [with_keys(0, &[1], false), with_keys(1, &[2], true)];
    fleet.join(&misfit).expect("nobody is there");
    fleet.reported(&misfit.owner, Report::default());
    fleet.join(&member).expect("it was a member before");
    fleet.reported(&misfit.owner, Report::default());
    assert_eq!(fleet.life(&misfit.owner), Life::Dead, "whatever it reports");
    let again = Introduction {
        again: true,
        ..misfit.clone()
    };
    assert!(matches!(fleet.join(&again), Err(NotTaken::Misfit(_))));
    // A state file named the member, and it is not back yet when the misfit comes.
    let mut fleet = Fleet::default();
    fleet.recall(&member.owner, "127.0.0.1:1");
    fleet.join(&misfit).expect("nobody has told anything");
    fleet.join(&member).expect("it is known");
    assert_eq!(fleet.life(&misfit.owner), Life::Dead);
}

#[test]
fn whom_the_register_names_was_a_member_before_whatever_it_says() {
    let [misfit, member] = [with_keys(0, &[1], false), with_keys(1, &[2], false)];
    let mut fleet = Fleet::default();
    fleet.recall(&member.owner, "127.0.0.1:1");
    fleet.join(&misfit).expect("nobody has told anything");
    fleet.reported(&misfit.owner, Report::default());
    fleet.join(&member).expect("it is known");
    assert_eq!(fleet.life(&misfit.owner), Life::Dead);
    assert!(matches!(fleet.join(&misfit), Err(NotTaken::Misfit(_))));
}

/// worker-0 in this life, at this port.
fn at(life: u64, port: u16) -> Introduction {
    Introduction::new(owner(0, life), format!("127.0.0.1:{port}"))
}

/// worker-0 in its first life, which reports.
fn reporting() -> (Fleet, Owner) {
    let (mut fleet, first) = (Fleet::default(), at(1, 1));
    fleet.join(&first).expect("nobody is there");
    fleet.reported(&first.owner, Report::default());
    (fleet, first.owner)
}

#[test]
fn a_name_is_its_first_process_s_while_that_reports() {
    let (mut fleet, first) = reporting();
    let refused = fleet.join(&at(2, 2)).expect_err("the first lives");
    assert!(matches!(refused, NotTaken::NameTaken { .. }));
    let said = refused.to_string();
    assert!(
        said.contains("127.0.0.1:1") && said.contains("--name"),
        "{said}"
    );
    assert_eq!(fleet.life(&first), Life::Alive);
    assert_eq!(fleet.life(&owner(0, 2)), Life::Dead, "it is no member");
    let drains = Report {
        draining: true,
        ..Report::default()
    };
    fleet.reported(&first, drains);
    assert!(fleet.join(&at(2, 2)).is_err(), "it has not ended yet");
}

#[test]
fn a_name_is_free_once_its_process_is_lost() {
    type Loss = fn(&mut Fleet, &Owner);
    let losses: [Loss; 3] = [Fleet::suspect, Fleet::died, Fleet::left];
    for lose in losses {
        let (mut fleet, first) = reporting();
        lose(&mut fleet, &first);
        fleet.join(&at(2, 2)).expect("the first does not report");
        assert!(fleet.successor(&first));
    }
}

#[test]
fn who_has_the_port_has_the_name() {
    let (mut fleet, first) = reporting();
    fleet.join(&at(2, 1)).expect("the first lost its port");
    assert!(fleet.successor(&first));
}

#[test]
fn a_member_before_has_its_name_back_after_the_controller_s_restart() {
    let (mut fleet, late) = reporting();
    let member = Introduction {
        again: true,
        ..at(2, 2)
    };
    fleet.join(&member).expect("it was a member before");
    assert!(fleet.successor(&late));
    fleet.reported(&member.owner, Report::default());
    let other = Introduction {
        again: true,
        ..at(3, 3)
    };
    assert!(fleet.join(&other).is_err(), "both were: the first stays");
}

#[test]
fn in_a_new_cluster_the_first_stays() {
    let mut fleet = Fleet::default();
    let first = with_keys(0, &[1], false);
    fleet.join(&first).expect("nobody is there");
    assert!(fleet.join(&with_keys(1, &[2], false)).is_err());
    assert_eq!(fleet.life(&first.owner), Life::Suspect);
}

#[test]
fn what_was_told_of_upstreams_stands_until_it_is_told_again() {
    let mut fleet = Fleet::default();
    let me = owner(0, 1);
    fleet.join(&introduced(&me)).expect("it is new");
    let sights = |names: &[&str]| -> Sights {
        let sight = |name: &&str| sights::Sight {
            name: (*name).to_owned(),
            ..sights::Sight::default()
        };
        names.iter().map(sight).collect()
    };
    let known = |fleet: &Fleet| {
        let (_, report) = fleet.living().next().expect("it lives");
        report.upstreams.clone()
    };
    for (told, expected) in [
        (None, None),
        (Some(sights(&["docs"])), Some(sights(&["docs"]))),
        (None, Some(sights(&["docs"]))),
        (Some(sights(&[])), Some(sights(&[]))),
    ] {
        let report = Report {
            upstreams: told,
            ..Report::default()
        };
        fleet.reported(&me, report);
        assert_eq!(known(&fleet), expected);
    }
    let again = owner(0, 2);
    fleet.join(&introduced(&again)).expect("it is new");
    fleet.reported(&again, Report::default());
    assert_eq!(known(&fleet), None, "another process may have others");
}
