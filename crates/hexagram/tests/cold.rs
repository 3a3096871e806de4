//! An edge that starts while its controller is away: it asks workers for the shard map.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use cluster::http::{Ask, Http};
use cluster::mcp::{Session, text};
use cluster::server::link_keys;
use cluster::{Controlled, Server, wait};

/// Sessions land on shards by chance: with two workers, one run in 2^31 has all of them on
/// the same worker.
const SESSIONS: usize = 32;

/// A cluster whose controller was killed, and the flags by which its workers are asked.
async fn left_alone(
    workers: &[&str],
    control: &[&str],
    edges: &[&str],
) -> (Controlled, Vec<String>) {
    let workers = [&["--demo=echo"][..], workers].concat();
    let mut cluster = Controlled::start_as(1, 2, &workers, control, edges).await;
    let links = cluster.links().await;
    assert_eq!(links.len(), 2);
    cluster.control.process.kill().await;
    let asks = links.iter().map(|link| format!("--ask={link}"));
    (cluster, asks.collect())
}

/// What `/readyz` says of the map, once somebody answers.
async fn said_of_map(edge: &Server) -> Option<Value> {
    let mut http = Http::try_connect(edge.admin).await.ok()?;
    let reply = http.try_send(&Ask::get("/readyz")).await.ok()?;
    let report: Value = serde_json::from_str(&reply.text()).ok()?;
    Some(report["conditions"]["map"].clone())
}

async fn goes_by(edge: &Server, whose: &str) {
    wait::until(whose, async || {
        let map = said_of_map(edge).await?;
        let is_said = map["why"].as_str()?.starts_with(whose);
        (is_said && map["ready"] == true).then_some(())
    })
    .await;
}

/// Clients of this edge are served, whatever their shard.
async fn serves(edge: &Server) {
    for number in 0..SESSIONS {
        let mut session = Session::open(edge.listen).await;
        let message = format!("message {number}");
        let reply = session.call("echo", &json!({ "message": message })).await;
        assert_eq!(text(&reply), message);
    }
}

/// The owners of all shards as this edge knows them.
async fn owners(edge: &Server) -> BTreeSet<String> {
    let status = edge.status().await;
    let shards = status["shards"].as_array().into_iter().flatten();
    let owners = shards.map(|shard| shard["owner"].as_str().unwrap().to_owned());
    owners.collect()
}

/// It serves without the controller, and goes by the register when that is back.
async fn starts_cold(mut cluster: Controlled, more: &[&str]) {
    let edge = cluster.another_edge(more);
    edge.serving().await;
    goes_by(edge, "workers told it").await;
    assert_eq!(owners(edge).await.len(), 2);
    serves(edge).await;
    cluster.control.process.respawn();
    cluster.control.ready().await;
    let edge = cluster.edges.last().unwrap();
    goes_by(edge, "the register's").await;
    serves(edge).await;
    // What it learnt of the workers does not keep it from following the register.
    wait::until("an order that is followed", async || {
        let drained = cluster.order(&["drain", "worker-0"]).await;
        drained.status.success().then_some(())
    })
    .await;
    wait::until("one owner of all shards", async || {
        (owners(edge).await.len() == 1).then_some(())
    })
    .await;
    serves(edge).await;
}

#[tokio::test]
async fn an_edge_that_starts_without_its_controller_asks_workers() {
    let (cluster, asks) = left_alone(&[], &[], &[]).await;
    let asks: Vec<_> = asks.iter().map(String::as_str).collect();
    starts_cold(cluster, &asks).await;
}

#[tokio::test]
async fn it_asks_over_mutual_tls_as_well() {
    let folder = tempfile::tempdir().unwrap();
    link_keys(folder.path(), &[]);
    let flag = |role| format!("--link-tls={}", folder.path().join(role).display());
    let [worker, control, edge] = ["worker", "controller", "edge"].map(flag);
    let (cluster, asks) = left_alone(&[&worker], &[&control], &[&edge]).await;
    let more: Vec<_> = asks.iter().map(String::as_str).chain([&*edge]).collect();
    starts_cold(cluster, &more).await;
}

#[tokio::test]
async fn who_tells_nothing_is_complained_of() {
    let (mut cluster, asks) = left_alone(&[], &[], &[]).await;
    let foreign = [asks[0].as_str(), "--ask=127.0.0.1:1", "--shards=32"];
    let edge = cluster.another_edge(&foreign);
    let complaints = [
        "no worker tells the shard map",
        "this worker belongs to cluster",
        "nobody listens there",
    ];
    wait::until("a complaint", async || {
        let log = edge.process.log();
        complaints
            .iter()
            .all(|said| log.contains(said))
            .then_some(())
    })
    .await;
    let map = said_of_map(edge).await.unwrap();
    assert_eq!(map["ready"], json!(false), "{map}");
}
