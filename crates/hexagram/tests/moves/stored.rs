//! Workers that die while a session store holds what they knew: no session ends.

use hexagram_sim::history::{History, Outcome};
use serde_json::json;

use crate::cluster::mcp::{self, Session};
use crate::scene::{Scene, Who};
use crate::streams::Streams;

/// Only a call that ran where a worker was lost may have failed.
pub(crate) fn only_unknown(history: &History) {
    for one in &history.exchanges {
        let may_be = [Outcome::Unknown, Outcome::Gone];
        let is_fine = matches!(one.outcome, Outcome::Answered(_)) || may_be.contains(&one.outcome);
        assert!(is_fine, "{one}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_worker_is_killed_in_turn() {
    let mut scene = Scene::stored().await;
    let mut streams = Streams::open(&scene.cluster).await;
    scene.load().await;
    for worker in 0..scene.cluster.workers.len() {
        scene.kill(Who::Worker(worker)).await;
        scene.respawn(Who::Worker(worker));
        scene.has_shards(worker).await;
    }
    only_unknown(&scene.finish("kill -9 of each worker in turn").await);
    streams.hear_again(&scene.counter).await;
}

/// It is back before anybody misses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_restarted_in_place() {
    let mut scene = Scene::stored().await;
    scene.load().await;
    scene.restart(Who::Worker(1)).await;
    scene.has_shards(1).await;
    only_unknown(&scene.finish("a worker restarted in place").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_stopped_and_comes_back_empty() {
    let mut scene = Scene::stored().await;
    scene.load().await;
    scene.loses_its_store().await;
    scene.kill(Who::Worker(1)).await;
    let history = scene
        .finish("the store stopped and wiped, then kill -9")
        .await;
    for one in &history.exchanges {
        // Without its store nobody ends a session.
        let is_refused = matches!(one.outcome, Outcome::Refused(-32011));
        let is_fine = matches!(
            one.outcome,
            Outcome::Answered(_) | Outcome::Unknown | Outcome::Gone
        );
        assert!(is_fine || is_refused, "{one}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_workers_and_the_controller_are_killed_at_once() {
    let mut scene = Scene::stored().await;
    let mut session = Session::open(scene.cluster.edges[0].listen).await;
    let mut ended = Session::open(scene.cluster.edges[1].listen).await;
    mcp::result(&session.call("count", &json!({})).await);
    assert_eq!(ended.delete().await.status, 200);
    let all = scene.cluster.workers.iter_mut();
    for server in all.chain([&mut scene.cluster.control]) {
        server.process.kill().await;
        server.process.respawn();
    }
    let answer = crate::cluster::wait::until("a session that goes on", async || {
        let reply = session.call("count", &json!({})).await;
        reply.response().get("result").is_some().then_some(reply)
    });
    let answer = answer.await;
    let text = mcp::result(&answer)["content"][0]["text"].to_string();
    assert!(
        text.ends_with(" 2\""),
        "its upstream session goes on: {text}"
    );
    let gone = ended.ask("ping", &json!({})).await;
    assert_eq!(gone.status, 404, "a deleted session is back");
}
