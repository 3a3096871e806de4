//! Processes that die without a store: a worker, whose clients begin anew; an edge,
//! whose clients go to another; and the controller, whom nobody misses until a shard is
//! to move.

use std::fs;
use std::path::Path;

use hexagram_sim::history::{Outcome, Step};
use serde_json::json;

use crate::cluster::mcp::{self, Session};
use crate::cluster::{Controlled, wait};
use crate::planned::{none_failed, shuffle};
use crate::scene::{Scene, Who};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed() {
    let mut scene = Scene::start().await;
    scene.load().await;
    scene.kill(Who::Worker(0)).await;
    assert_eq!(scene.cluster.count("worker-0").await, 0);
    scene.finish("kill -9 of a worker, no store").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_killed() {
    let mut scene = Scene::start().await;
    scene.load().await;
    scene.kill(Who::Edge(0)).await;
    scene.respawn(Who::Edge(0));
    scene.cluster.edges[0].serving().await;
    scene.served_since(scene.talk.now()).await;
    let history = scene.finish("kill -9 of an edge").await;
    for one in &history.exchanges {
        let is_cut = one.outcome == Outcome::Broken && one.edge == "edge-0";
        let is_fine = matches!(one.outcome, Outcome::Answered(_) | Outcome::Gone);
        assert!(is_cut || is_fine, "{one}");
    }
}

#[tokio::test]
async fn a_worker_that_returns_is_given_shards() {
    let mut scene = Scene::start().await;
    let before = life(&scene.cluster).await;
    scene.kill(Who::Worker(0)).await;
    wait::until("a failover", async || {
        (scene.cluster.count("worker-0").await == 0).then_some(())
    })
    .await;
    scene.respawn(Who::Worker(0));
    scene.has_shards(0).await;
    assert_ne!(life(&scene.cluster).await, before, "the same life");
    for edge in &scene.cluster.edges {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_without_a_file() {
    controller_returns("kill -9 of the controller", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_with_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control.json");
    let args = ["--state", file.to_str().unwrap()];
    controller_returns("kill -9 of the controller, with a file", &args).await;
}

async fn controller_returns(scenario: &str, control: &[&str]) {
    let mut scene = Scene::with(None, control).await;
    scene.load().await;
    let before = scene.cluster.owners().await;
    scene.kill(Who::Control).await;
    scene.respawn(Who::Control);
    scene.cluster.control.ready().await;
    assert_eq!(owners(&scene.cluster).await, before);
    scene.served_since(scene.talk.now()).await;
    assert_eq!(scene.cluster.owners().await, before, "a shard moved");
    follows_orders(&scene.cluster, &before).await;
    none_failed(&scene.finish(scenario).await);
}

/// The owners that the controller knows, once it does.
async fn owners(cluster: &Controlled) -> Vec<(String, u64)> {
    wait::until("a map", async || {
        let owners = cluster.owners().await;
        (!owners.is_empty()).then_some(owners)
    })
    .await
}

/// A shard moves when it is told to.
async fn follows_orders(cluster: &Controlled, owners: &[(String, u64)]) {
    let to = match owners[5].0.as_str() {
        "worker-0" => "worker-1",
        _ => "worker-0",
    };
    wait::until("an order that is followed", async || {
        let moved = cluster.order(&["move", "5", to]).await;
        moved.status.success().then_some(())
    })
    .await;
}

/// The controller starts again with what it knew before the last moves.
#[tokio::test(flavor = "multi_thread")]
async fn a_register_that_was_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control.json");
    let mut scene = Scene::with(None, &["--state", file.to_str().unwrap()]).await;
    scene.load().await;
    let early = fs::read(&file).unwrap();
    shuffle(&scene.cluster, scene.size.moves / 4).await;
    let before = scene.cluster.owners().await;
    scene.kill(Who::Control).await;
    put_back(&file, &early);
    scene.did(Who::Control, Step::Forgot);
    scene.respawn(Who::Control);
    scene.cluster.control.ready().await;
    let after = wait::until("a map that goes on", async || {
        let after = scene.cluster.owners().await;
        let goes_on = |(old, new): (&(String, u64), &(String, u64))| new.1 >= old.1;
        (after.len() == before.len() && before.iter().zip(&after).all(goes_on)).then_some(after)
    })
    .await;
    scene.served_since(scene.talk.now()).await;
    follows_orders(&scene.cluster, &after).await;
    none_failed(&scene.finish("the register put back").await);
}

fn put_back(file: &Path, text: &[u8]) {
    assert_ne!(fs::read(file).unwrap(), text, "nothing has happened since");
    fs::write(file, text).unwrap();
}
