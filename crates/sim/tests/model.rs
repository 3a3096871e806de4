//! The protocol holds in every order of events, and the checker finds each
//! mistake that is built in, under the name of the invariant that it breaks.
#![allow(
    clippy::print_stdout,
    reason = "the number of states tells whether it was a walk"
)]

use hexagram_sim::model::{Bug, Cluster, Op};
use stateright::{Checker, Model};

/// A change, a planned move, and nothing that goes wrong.
const CALM: Cluster = Cluster {
    edges: 1,
    ops: &[Op::Record],
    moves: 1,
    crashes: 0,
    suspicions: 0,
    bug: None,
};

/// Every state there is.
fn check(cluster: Cluster) -> impl Checker<Cluster> {
    let label = format!("{cluster:?}");
    let checked = cluster.checker().threads(2).spawn_bfs().join();
    println!("{label}: {} states", checked.unique_state_count());
    checked
}

#[track_caller]
fn holds(cluster: Cluster) {
    check(cluster).assert_properties();
}

/// The mistake breaks the invariant. The tests above show that it holds without.
#[track_caller]
fn breaks(invariant: &'static str, bug: Bug, cluster: Cluster) {
    let broken = Cluster {
        bug: Some(bug),
        ..cluster
    };
    let found = check(broken).discovery(invariant);
    assert!(found.is_some(), "{bug:?} should break {invariant}");
}

#[test]
fn a_move_and_two_crashes() {
    holds(Cluster { crashes: 2, ..CALM });
}

#[test]
fn a_move_and_an_owner_wrongly_taken_for_dead() {
    holds(Cluster {
        crashes: 1,
        suspicions: 1,
        ..CALM
    });
}

#[test]
fn two_edges_in_one_session() {
    holds(Cluster { edges: 2, ..CALM });
}

#[test]
fn a_session_that_ends_while_it_moves() {
    holds(Cluster {
        ops: &[Op::Delete, Op::Use],
        crashes: 1,
        ..CALM
    });
}

#[test]
fn nothing_is_served_after_the_grant() {
    breaks("I5", Bug::ResumeAfterGrant, CALM);
}

#[test]
fn a_change_is_written_before_it_is_acknowledged() {
    let cluster = Cluster {
        moves: 0,
        crashes: 1,
        ..CALM
    };
    breaks("I2", Bug::AckBeforeWrite, cluster);
}

#[test]
fn an_aborted_epoch_is_burnt() {
    let cluster = Cluster {
        crashes: 1,
        suspicions: 1,
        ..CALM
    };
    breaks("I1", Bug::AbortUnburnt, cluster);
}

#[test]
fn an_epoch_is_claimed_before_its_state_is_read() {
    let cluster = Cluster {
        moves: 0,
        suspicions: 1,
        ..CALM
    };
    breaks("I2", Bug::LoadBeforeClaim, cluster);
}

#[test]
fn the_store_takes_no_stale_write() {
    let cluster = Cluster {
        moves: 0,
        suspicions: 1,
        ..CALM
    };
    breaks("I2", Bug::StaleWriteAccepted, cluster);
}

#[test]
fn an_edge_keeps_its_epoch_while_a_shard_moves() {
    breaks("I5", Bug::EdgeRaisesOnMoving, CALM);
}

#[test]
fn a_tail_ends_in_the_epoch_that_was_granted_with_it() {
    let cluster = Cluster {
        suspicions: 1,
        ..CALM
    };
    breaks("I8", Bug::ForeignTail, cluster);
}

#[test]
fn the_end_of_a_session_reaches_its_tails() {
    let cluster = Cluster {
        ops: &[Op::Delete, Op::Use],
        ..CALM
    };
    breaks("I12", Bug::DeleteSkipsTails, cluster);
}
