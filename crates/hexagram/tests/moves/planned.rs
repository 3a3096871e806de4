//! Planned moves: ordered ones, a drain, and a worker that is asked to end. Nothing
//! fails, and no stream ends.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hexagram_sim::history::History;

use crate::cluster::Controlled;
use crate::scene::{Scene, Who};
use crate::streams::Streams;
use crate::talk::is_failure;

/// A shard, and a worker that does not own it.
async fn draw(cluster: &Controlled, turn: u64, random: &RandomState) -> (String, String) {
    let owners = cluster.owners().await;
    let drawn = random.hash_one(turn) as usize;
    let shard = drawn % owners.len();
    let owner = owners[shard].0.strip_prefix("worker-").unwrap();
    let owner: usize = owner.parse().unwrap();
    let workers = cluster.workers.len();
    let to = (owner + 1 + drawn / owners.len() % (workers - 1)) % workers;
    (shard.to_string(), format!("worker-{to}"))
}

/// Moves so many random shards to other workers.
pub(crate) async fn shuffle(cluster: &Controlled, moves: u64) {
    let random = RandomState::new();
    for turn in 0..moves {
        let (shard, to) = draw(cluster, turn, &random).await;
        cluster.obey(&["move", &shard, &to]).await;
    }
}

/// Every message was answered, but for those to sessions that had ended.
#[track_caller]
pub(crate) fn none_failed(history: &History) {
    let failed: Vec<_> = history
        .exchanges
        .iter()
        .filter(|one| is_failure(one))
        .collect();
    let some = &failed[..failed.len().min(5)];
    assert!(failed.is_empty(), "{} failed: {some:#?}", failed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn random_moves() {
    let mut scene = Scene::stored().await;
    let mut streams = Streams::open(&scene.cluster).await;
    scene.load().await;
    shuffle(&scene.cluster, scene.size.moves).await;
    let moves = scene.size.moves;
    let history = scene.finish(&format!("{moves} random moves")).await;
    none_failed(&history);
    streams.still_hear(&scene.counter).await;
}

/// As in an upgrade, and in one that is taken back.
#[tokio::test(flavor = "multi_thread")]
async fn the_link_of_the_release_before() {
    let mut scene = Scene::with_older_edges().await;
    let mut streams = Streams::open(&scene.cluster).await;
    scene.load().await;
    for link in scene.cluster.edges[0].status().await["links"]
        .as_array()
        .unwrap()
    {
        assert_eq!(link["version"], 2, "{link}");
    }
    shuffle(&scene.cluster, scene.size.moves / 4).await;
    scene.end(Who::Worker(0)).await;
    none_failed(&scene.finish("moves over link version 2").await);
    streams.still_hear(&scene.counter).await;
}

/// Links, handoff and watch alike.
#[tokio::test(flavor = "multi_thread")]
async fn moves_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::over_tls(folder.path()).await;
    let mut streams = Streams::open(&scene.cluster).await;
    scene.load().await;
    shuffle(&scene.cluster, scene.size.moves / 4).await;
    scene.end(Who::Worker(0)).await;
    none_failed(&scene.finish("moves over TLS").await);
    streams.still_hear(&scene.counter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain() {
    let mut scene = Scene::start().await;
    let mut streams = Streams::open(&scene.cluster).await;
    scene.load().await;
    scene.cluster.obey(&["drain", "worker-0"]).await;
    assert_eq!(scene.cluster.count("worker-0").await, 0);
    scene.end(Who::Worker(0)).await;
    none_failed(&scene.finish("drain").await);
    streams.still_hear(&scene.counter).await;
}

/// Its exit drains first.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_end() {
    let mut scene = Scene::start().await;
    let mut streams = Streams::open(&scene.cluster).await;
    scene.load().await;
    scene.end(Who::Worker(0)).await;
    assert_eq!(scene.cluster.count("worker-0").await, 0);
    none_failed(&scene.finish("SIGTERM of a worker").await);
    streams.still_hear(&scene.counter).await;
}
