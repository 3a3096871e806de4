//! A worker whose clients keep it busy beside one that has nothing to do.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::mcp::{Session, text};
use crate::cluster::{Controlled, wait};

const CLIENTS: usize = 8;
/// A message that is some work to carry.
const LENGTH: usize = 32 << 10;
/// Loads must differ for thirty seconds before the first shard moves.
const PATIENCE: Duration = Duration::from_secs(90);

/// Sessions whose shards `worker-0` owns.
async fn sessions(cluster: &Controlled) -> Vec<Session> {
    let minted = async || {
        let worker = &cluster.workers[0];
        worker.metric("hexagram_worker_sessions_total").await
    };
    let mut own = Vec::new();
    while own.len() < CLIENTS {
        let before = minted().await;
        let session = Session::open(cluster.edges[0].listen).await;
        if minted().await > before {
            own.push(session);
        }
    }
    own
}

/// Has every session call without a pause.
fn busy(sessions: Vec<Session>, stop: &CancellationToken) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for mut session in sessions {
        let stop = stop.clone();
        clients.spawn(async move {
            let said = "x".repeat(LENGTH);
            while !stop.is_cancelled() {
                let reply = session.call("echo", &json!({"message": said})).await;
                assert!(text(&reply).ends_with(&said));
            }
        });
    }
    clients
}

/// The share of its time that a worker is busy, as the controller knows it.
async fn load(cluster: &Controlled, name: &str) -> f64 {
    let status = cluster.control.status().await;
    let mut workers = status["workers"].as_array().into_iter().flatten();
    let worker = workers.find(|worker| worker["name"] == name);
    worker.unwrap()["load"].as_f64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_follow_load() {
    let args = ["--demo=echo", "--threads=1"];
    let cluster = Controlled::start(1, 2, &args, &[]).await;
    let stop = CancellationToken::new();
    let clients = busy(sessions(&cluster).await, &stop);
    wait::until("a busy worker", async || {
        (load(&cluster, "worker-0").await > 0.2).then_some(())
    })
    .await;
    let idle = load(&cluster, "worker-1").await;
    wait::until_in(PATIENCE, "a move by load", async || {
        let log = cluster.control.process.log();
        log.contains("another worker is less busy").then_some(())
    })
    .await;
    wait::until_in(PATIENCE, "work for the other worker", async || {
        (load(&cluster, "worker-1").await > idle + 0.05).then_some(())
    })
    .await;
    let loads = [
        load(&cluster, "worker-0").await,
        load(&cluster, "worker-1").await,
    ];
    eprintln!("loads after a move: {loads:.2?}");
    stop.cancel();
    // A client that was refused anything has panicked.
    clients.join_all().await;
}
