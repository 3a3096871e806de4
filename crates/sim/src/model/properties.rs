//! The invariants of DESIGN 10, under their names.

use hexagram_core::Phase;
use stateright::Property;

use super::Cluster;
use super::state::State;
use super::words::{Op, Ops};

/// The properties to check.
pub(super) fn all(cluster: &Cluster) -> Vec<Property<Cluster>> {
    let mut all = vec![
        Property::<Cluster>::always("I1", |_, state| !state.seen.shared_epoch),
        Property::<Cluster>::always("I2", |_, state| changes_survive(state)),
        Property::<Cluster>::always("I3", |_, state| !state.store.repeated),
        Property::<Cluster>::always("I4", |_, state| !state.seen.went_back),
        Property::<Cluster>::always("I5", |_, state| {
            nothing_after_grant(state) && aborts_change_nothing(state)
        }),
        Property::<Cluster>::always("I8", |_, state| !state.seen.foreign_tail),
    ];
    // An owner that is wrongly taken for dead goes on answering what records
    // nothing until it hears of its successor.
    if cluster.suspicions == 0 {
        all.push(Property::<Cluster>::always("I12", |_, state| {
            !state.seen.rose_again
        }));
    }
    // Without these, a model in which nothing ever happens would hold.
    if cluster.moves > 0 {
        all.push(Property::<Cluster>::sometimes("a move ends", moved));
    }
    if cluster.crashes > 0 {
        all.push(Property::<Cluster>::sometimes(
            "a dead owner is replaced",
            replaced,
        ));
    }
    all.push(Property::<Cluster>::sometimes(
        "everything is answered",
        answered,
    ));
    all
}

/// I2: who serves knows all that was acknowledged up to its epoch.
fn changes_survive(state: &State) -> bool {
    let serving = state
        .workers
        .iter()
        .filter_map(|worker| Some((worker.holding.serving()?, worker.ops)));
    serving.into_iter().all(|(epoch, ops)| {
        let earlier = state.seen.acknowledged.range(..=epoch);
        let due = earlier.fold(Ops::default(), |due, (_, ops)| due.union(*ops));
        ops.includes(due)
    })
}

/// I5: who granted an epoch never serves in it or in one before.
fn nothing_after_grant(state: &State) -> bool {
    state.workers.iter().all(|worker| {
        let serving = worker.holding.serving();
        serving.is_none() || serving > worker.gave
    })
}

/// I5: no edge waits for an epoch that nobody was given for good.
fn aborts_change_nothing(state: &State) -> bool {
    let served = state.seen.served.keys().next_back().copied();
    let given = served.max(Some(state.register.epoch()));
    state.edges.iter().all(|edge| edge.route.epoch() <= given)
}

fn moved(_: &Cluster, state: &State) -> bool {
    state.moves > 0
        && state.suspicions == 0
        && state.crashes == 0
        && *state.register.owner() != 0
        && state.workers[0].holding.phase() == &Phase::Absent
}

fn replaced(_: &Cluster, state: &State) -> bool {
    state.crashes > 0
        && state
            .workers
            .iter()
            .any(|worker| worker.holding.serving() > Some(hexagram_core::Epoch::FIRST))
}

fn answered(cluster: &Cluster, state: &State) -> bool {
    let all = |op: &&Op| state.edges.iter().any(|edge| edge.answered.contains(**op));
    cluster.ops.iter().filter(all).count() == cluster.ops.len()
}
