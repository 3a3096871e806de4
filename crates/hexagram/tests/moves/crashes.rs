//! Processes that die: a worker, whose clients go on, and the controller, whom
//! nobody misses until a shard is to move.

use std::collections::BTreeSet;

use serde_json::json;
use tokio::time::Instant;

use crate::cluster::mcp::{self, Session};
use crate::cluster::{Controlled, wait};
use crate::counter::Counter;
use crate::figures;
use crate::load::{Call, Failure, LEGACY, Load, MODERN};
use crate::planned::cluster;

/// "The worker was lost while it worked on this."
pub(crate) const LOST: i64 = -32012;

/// Until every client had an answer after `event`.
pub(crate) async fn served_again(load: &Load, event: Instant) {
    wait::until("service for every client", async || {
        (load.served_since(event) == LEGACY + MODERN).then_some(())
    })
    .await;
}

/// What the death of `worker-0` may cost a client: the call that ran there, and
/// the session of a legacy client if it was there. `owner` had its session.
fn cost(failures: &[&Failure], owner: Option<usize>) -> bool {
    let fate_of_call = match failures {
        [Failure::Error(LOST, _), rest @ ..] => rest,
        all => all,
    };
    match owner {
        Some(0) => fate_of_call == [&Failure::Gone],
        Some(_) => failures.is_empty(),
        None => fate_of_call.is_empty(),
    }
}

/// Every call that was answered has run once, and none twice. One that ends with
/// its worker may have run, whatever its client is told.
/// `before` were answered before the load.
pub(crate) fn ran_once(counter: &Counter, calls: &[Call], before: u64) {
    let count = |fits: fn(&Call) -> bool| calls.iter().filter(|call| fits(call)).count() as u64;
    let answered = count(|call| call.outcome.is_ok());
    let unknown = count(|call| call.outcome.is_err());
    let ran = counter.calls() - before;
    assert!(
        (answered..=answered + unknown).contains(&ran),
        "{ran} calls ran, {answered} were answered, {unknown} are unknown"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed() {
    let (counter, mut cluster) = cluster().await;
    let load = Load::start(&cluster).await;
    let owners = load.owners.clone();
    served_again(&load, Instant::now()).await;
    let event = Instant::now();
    cluster.workers[0].process.kill().await;
    served_again(&load, event).await;
    let calls = load.end().await;
    figures::print("kill -9", &calls);
    let pause = figures::full_service(&calls, event);
    eprintln!("kill -9: full service after {pause:?}");
    let owners = owners.into_iter().map(Some).chain([None; MODERN]);
    for (client, owner) in owners.enumerate() {
        let failures = figures::failures(&calls, client);
        assert!(
            cost(&failures, owner),
            "{client} at {owner:?}: {failures:#?}"
        );
    }
    ran_once(&counter, &calls, 0);
    assert_eq!(cluster.count("worker-0").await, 0);
}

#[tokio::test]
async fn a_worker_that_returns_is_given_shards() {
    let (_counter, mut cluster) = cluster().await;
    let mut lives = BTreeSet::new();
    lives.insert(life(&cluster).await);
    cluster.workers[0].process.kill().await;
    empty(&cluster).await;
    cluster.workers[0].process.respawn();
    wait::until("shards of the new life", async || {
        (cluster.count("worker-0").await > 0).then_some(())
    })
    .await;
    assert!(lives.insert(life(&cluster).await), "the same life");
    for edge in &cluster.edges {
        let mut session = Session::open(edge.listen).await;
        mcp::result(&session.call("count", &json!({})).await);
    }
}

/// The incarnation of `worker-0`.
async fn life(cluster: &Controlled) -> String {
    let status = cluster.control.status().await;
    let mut workers = status["workers"].as_array().into_iter().flatten();
    let own = workers.find(|worker| worker["name"] == "worker-0");
    own.unwrap()["incarnation"].to_string()
}

/// Waits until the shards of `worker-0` are others'.
async fn empty(cluster: &Controlled) {
    wait::until("a failover", async || {
        (cluster.count("worker-0").await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_without_a_file() {
    controller_returns(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_with_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control.json");
    controller_returns(&["--state", file.to_str().unwrap()]).await;
}

async fn controller_returns(control: &[&str]) {
    let counter = Counter::start().await;
    let mut cluster = Controlled::start(2, 3, &[&counter.argument()], control).await;
    let load = Load::start(&cluster).await;
    let before = cluster.owners().await;
    cluster.control.process.kill().await;
    served_again(&load, Instant::now()).await;
    cluster.control.process.respawn();
    cluster.control.ready().await;
    wait::until("the same map", async || {
        let owners = cluster.owners().await;
        (!owners.is_empty()).then_some(owners)
    })
    .await;
    assert_eq!(cluster.owners().await, before);
    served_again(&load, Instant::now()).await;
    assert_eq!(cluster.owners().await, before, "a shard moved");
    let to = if before[5].0 == "worker-0" {
        "worker-1"
    } else {
        "worker-0"
    };
    wait::until("an order that is followed", async || {
        let moved = cluster.order(&["move", "5", to]).await;
        moved.status.success().then_some(())
    })
    .await;
    let calls = load.end().await;
    figures::print("controller killed", &calls);
    figures::none_failed(&calls);
}
