//! A worker that dies: its shards are refused at once and served again after
//! its restart; the other worker's clients notice nothing.

use std::net::SocketAddr;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;

use crate::cluster::http::{Http, Reply};
use crate::cluster::mcp::{Refusal, Session, echo, modern, refused, text};
use crate::cluster::server::key_ring;
use crate::cluster::{Cluster, Server, wait};

/// Enough that both workers have some for certain.
const CLIENTS: usize = 40;

async fn sessions_of(peer: SocketAddr) -> Vec<Session> {
    join_all((0..CLIENTS).map(|_| Session::open(peer))).await
}

async fn call_all(sessions: &mut [Session]) -> Vec<Reply> {
    let arguments = json!({"message": "x"});
    let calls = sessions
        .iter_mut()
        .map(|session| session.call("echo", &arguments));
    join_all(calls).await
}

#[track_caller]
fn worker_down(reply: &Reply, id: serde_json::Value) {
    let error = refused(reply, &Refusal(503, id, -32011, "worker_down"));
    assert!(
        error["data"]["retryAfterMs"].as_u64().is_some(),
        "{reply:?}"
    );
    let wait = reply
        .header("retry-after")
        .and_then(|value| value.parse::<u64>().ok());
    assert!(wait.is_some_and(|seconds| seconds >= 1), "{reply:?}");
}

/// Kills worker 0; its edge knows when this returns.
async fn kill_first(cluster: &mut Cluster) {
    cluster.workers[0].process.kill().await;
    let edge = &cluster.edges[0];
    wait::until("the edge sees the link break", async || {
        (!edge.is_linked("worker-0").await).then_some(())
    })
    .await;
}

async fn revive_first(cluster: &mut Cluster) {
    cluster.workers[0].process.respawn();
    let edge: &mut Server = &mut cluster.edges[0];
    edge.serving().await;
}

#[tokio::test]
async fn its_shards_are_refused_and_come_back() {
    let mut cluster = Cluster::start(1, 2, &["--demo=echo"]).await;
    let edge = cluster.edges[0].listen;
    let mut sessions = sessions_of(edge).await;
    for reply in call_all(&mut sessions).await {
        assert_eq!(text(&reply), "x");
    }
    kill_first(&mut cluster).await;
    let replies = call_all(&mut sessions).await;
    let (lost, kept): (Vec<_>, Vec<_>) = sessions
        .into_iter()
        .zip(&replies)
        .partition(|(_, reply)| reply.status != 200);
    assert!(!lost.is_empty() && !kept.is_empty());
    for (session, reply) in &lost {
        worker_down(reply, session.last());
    }
    for (_, reply) in &kept {
        assert_eq!(text(reply), "x");
    }
    revive_first(&mut cluster).await;
    // Without a store nobody knows which of its sessions were deleted (DESIGN 4).
    let mut lost: Vec<_> = lost.into_iter().map(|(session, _)| session).collect();
    let replies = call_all(&mut lost).await;
    for (session, reply) in lost.iter().zip(&replies) {
        refused(
            reply,
            &Refusal(404, session.last(), -32001, "session_not_found"),
        );
    }
    let mut kept: Vec<_> = kept.into_iter().map(|(session, _)| session).collect();
    let mut new = sessions_of(edge).await;
    for reply in call_all(&mut kept)
        .await
        .iter()
        .chain(&call_all(&mut new).await)
    {
        assert_eq!(text(reply), "x");
    }
}

#[tokio::test]
async fn modern_clients_of_its_shards_are_refused_too() {
    let mut cluster = Cluster::start(1, 2, &["--demo=echo"]).await;
    let edge = cluster.edges[0].listen;
    let mut clients = join_all((0..CLIENTS).map(|_| Http::connect(edge))).await;
    let ask = modern(5, "tools/call", &echo("x"));
    kill_first(&mut cluster).await;
    let replies = join_all(clients.iter_mut().map(|http| http.send(&ask))).await;
    let (kept, lost): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert!(!lost.is_empty() && !kept.is_empty());
    for reply in lost {
        worker_down(reply, json!(5));
    }
    revive_first(&mut cluster).await;
    for reply in join_all(clients.iter_mut().map(|http| http.send(&ask))).await {
        assert_eq!(text(&reply), "x");
    }
}

/// Calls that run while their worker dies end in an answer, never in silence.
#[tokio::test]
async fn calls_under_way_get_an_answer() {
    let mut cluster = Cluster::start(1, 2, &["--demo=tour"]).await;
    let mut sessions = sessions_of(cluster.edges[0].listen).await;
    let arguments = json!({"steps": 40, "step_ms": 100});
    for session in &mut sessions {
        let call = crate::cluster::mcp::call("countdown", &arguments);
        let ask = session.prepare("tools/call", &call);
        session.http.start(&ask).await;
    }
    let edge = &cluster.edges[0];
    wait::until("all calls run", async || {
        let status = edge.status().await;
        let links = status["links"].as_array()?;
        let running: u64 = links
            .iter()
            .filter_map(|link| link["in_flight"].as_u64())
            .sum();
        (running == CLIENTS as u64).then_some(())
    })
    .await;
    cluster.workers[0].process.kill().await;
    let replies = join_all(sessions.iter_mut().map(Session::reply)).await;
    let (done, lost): (Vec<_>, Vec<_>) = sessions
        .iter()
        .zip(&replies)
        .partition(|(_, reply)| reply.response().get("result").is_some());
    assert!(!done.is_empty() && !lost.is_empty());
    for (session, reply) in lost {
        // The tool may have acted before its worker died.
        refused(
            reply,
            &Refusal(200, session.last(), -32012, "outcome_unknown"),
        );
    }
    for (_, reply) in done {
        assert_eq!(text(reply), "counted 40 steps");
    }
}

/// A worker that hangs is as good as dead after three missed keep-alives, and
/// the same worker when it comes to itself.
#[tokio::test]
async fn a_worker_that_hangs() {
    let cluster = Cluster::start(1, 2, &["--demo=echo"]).await;
    let mut sessions = sessions_of(cluster.edges[0].listen).await;
    cluster.workers[0].process.signal(Signal::STOP);
    let replies = call_all(&mut sessions).await;
    let lost = sessions.iter().zip(&replies);
    let lost: Vec<_> = lost
        .filter(|(_, reply)| reply.response().get("result").is_none())
        .collect();
    assert!(!lost.is_empty() && lost.len() < CLIENTS);
    for (session, reply) in lost {
        refused(
            reply,
            &Refusal(200, session.last(), -32012, "outcome_unknown"),
        );
    }
    let replies = call_all(&mut sessions).await;
    for (session, reply) in sessions.iter().zip(&replies) {
        if reply.status != 200 {
            worker_down(reply, session.last());
        }
    }
    cluster.workers[0].process.signal(Signal::CONT);
    let edge = &cluster.edges[0];
    wait::until("the link is up again", async || {
        edge.is_linked("worker-0").await.then_some(())
    })
    .await;
    for reply in call_all(&mut sessions).await {
        assert_eq!(text(&reply), "x");
    }
}

/// Two processes of different clusters or with different keys never serve
/// each other's clients.
#[tokio::test]
async fn an_edge_of_another_cluster_is_refused() {
    let cluster = Cluster::start(1, 1, &["--demo=echo"]).await;
    let peer = cluster.peers[0].clone();
    let keys = format!("--keys={}", cluster.ring.display());
    let stranger = Server::edge(&[&peer, &keys, "--cluster=another"]);
    wait::until("the refusal is logged", async || {
        stranger
            .process
            .log()
            .contains("cannot link to worker")
            .then_some(())
    })
    .await;
    let mut http = Http::connect(stranger.listen).await;
    let reply = http.send(&crate::cluster::mcp::initialize()).await;
    worker_down(&reply, json!(1));
}

/// Sessions would be lost and calls misdirected, one by one and without a word.
#[tokio::test]
async fn an_edge_with_another_ring_or_map_is_refused_on_both_sides() {
    let cluster = Cluster::start(1, 1, &["--demo=echo"]).await;
    let folder = tempfile::tempdir().unwrap();
    let ring = folder.path().join("ring.txt");
    std::fs::write(&ring, key_ring()).unwrap();
    let theirs = format!("--keys={}", cluster.ring.display());
    let other = format!("--keys={}", ring.display());
    let (peer, more) = (cluster.peers[0].as_str(), "--peer=worker-1=127.0.0.1:1");
    for (name, args, fix) in [
        (
            "--name=ring",
            [&other, peer, peer].as_slice(),
            "--keys file",
        ),
        ("--name=map", &[&theirs, peer, more], "--peer list"),
    ] {
        let mut args = args.to_vec();
        args.dedup();
        args.push(name);
        let edge = Server::edge(&args);
        wait::until(format!("a refusal that names the {fix}"), async || {
            let log = edge.process.log();
            (log.contains("the worker refuses this edge") && log.contains(fix)).then_some(())
        })
        .await;
        let log = cluster.workers[0].process.log();
        assert!(log.contains("refused a link") && log.contains(fix), "{log}");
        assert!(!edge.is_linked("worker-0").await);
    }
}
