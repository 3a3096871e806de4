//! SIGTERM: what runs finishes within the grace, what stands is ended in its
//! own form, and the process says that it is leaving.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use rustix::process::Signal;
use serde_json::json;

use cluster::http::{Ask, Http};
use cluster::mcp::{Session, call, text};
use cluster::{Cluster, Server, wait};

/// Starts a countdown of so many tenths of a second.
async fn count(session: &mut Session, steps: u32) {
    let params = call("countdown", &json!({"steps": steps, "step_ms": 100}));
    let ask = session.prepare("tools/call", &params);
    session.http.start(&ask).await;
}

/// Waits until so many exchanges run.
async fn running(server: &Server, count: u64) {
    wait::until("the calls run", async || {
        let status = server.status().await;
        let links = status["links"].as_array()?;
        let all: u64 = links
            .iter()
            .filter_map(|link| link["in_flight"].as_u64())
            .sum();
        (all == count).then_some(())
    })
    .await;
}

/// Whether `/readyz` says so.
async fn is_ready(server: &Server) -> bool {
    let mut http = Http::connect(server.admin).await;
    http.send(&Ask::get("/readyz")).await.status == 200
}

#[tokio::test]
async fn running_calls_finish() {
    let mut local = Server::local(&["--demo=tour"]).await;
    let mut session = Session::open(local.listen).await;
    count(&mut session, 20).await;
    running(&local, 1).await;
    local.process.signal(Signal::TERM);
    wait::until("unready while it drains", async || {
        (!is_ready(&local).await).then_some(())
    })
    .await;
    assert_eq!(text(&session.reply().await), "counted 20 steps");
    assert_eq!(local.process.wait().await.code(), Some(0));
}

#[tokio::test]
async fn running_calls_of_an_edge_finish() {
    let mut cluster = Cluster::start(1, 2, &["--demo=tour"]).await;
    let edge = &mut cluster.edges[0];
    let mut session = Session::open(edge.listen).await;
    count(&mut session, 20).await;
    running(edge, 1).await;
    assert_eq!(edge.process.end().await.code(), Some(0));
    assert_eq!(text(&session.reply().await), "counted 20 steps");
}

#[tokio::test]
async fn running_calls_of_a_worker_finish() {
    let mut cluster = Cluster::start(1, 1, &["--demo=tour"]).await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    count(&mut session, 20).await;
    running(&cluster.edges[0], 1).await;
    assert_eq!(cluster.workers[0].process.end().await.code(), Some(0));
    assert_eq!(text(&session.reply().await), "counted 20 steps");
}

/// A call longer than the grace does not hold the process, and its client is told.
#[tokio::test]
async fn the_grace_has_an_end() {
    let mut local = Server::local(&["--demo=tour", "--drain-grace=1"]).await;
    let mut session = Session::open(local.listen).await;
    count(&mut session, 100).await;
    running(&local, 1).await;
    local.process.signal(Signal::TERM);
    let reply = session.reply().await;
    let error = &reply.response()["error"];
    assert_eq!(error["code"], -32012, "{reply:?}");
    local.process.wait().await;
}

#[tokio::test]
async fn standing_streams_end() {
    let mut local = Server::local(&["--demo=tour"]).await;
    let mut session = Session::open(local.listen).await;
    let ask = session.signed(Ask::get("/mcp").header("accept", "text/event-stream"));
    session.http.start(&ask).await;
    let head = wait::within("the stream's head", session.http.head())
        .await
        .unwrap();
    assert_eq!(head.status, 200);
    local.process.signal(Signal::TERM);
    let mut said = Vec::new();
    // Ended by the last chunk, not by a bare close.
    while let Some(piece) = wait::within("the stream's end", session.http.chunk())
        .await
        .unwrap()
    {
        said.extend_from_slice(&piece);
    }
    assert!(!String::from_utf8(said).unwrap().contains("event: message"));
    assert_eq!(local.process.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut local = Server::local(&["--demo=tour"]).await;
    let mut session = Session::open(local.listen).await;
    count(&mut session, 100).await;
    running(&local, 1).await;
    local.process.signal(Signal::TERM);
    wait::until("the drain", async || {
        (!is_ready(&local).await).then_some(())
    })
    .await;
    local.process.signal(Signal::TERM);
    assert_eq!(local.process.wait().await.code(), Some(143));
}
