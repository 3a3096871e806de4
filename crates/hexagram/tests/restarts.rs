//! Edges hold nothing that a client would miss: all of them are restarted one
//! by one under real clients and an open session (DESIGN 5a).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use serde_json::json;

use cluster::clients::{self, Client, Report};
use cluster::everything::Everything;
use cluster::mcp::{LEGACY, Session, echo, text};
use cluster::{Cluster, Server, wait};

/// How the clients' libraries call a connection that the other side closed
/// while they sent: whether the call ran is for the caller to judge, and no
/// server can spare it that.
const CLOSED: [&str; 7] = [
    "other side closed",
    "ECONNRESET",
    "EPIPE",
    "socket hang up",
    "RemoteProtocolError",
    "ReadError",
    "WriteError",
];

/// Long enough for both restarts; the client ends by itself.
const LOOP_SECONDS: &str = "14";
/// A client that made so many calls is in its loop.
const WARM: u64 = 30;

#[tokio::test]
async fn the_legacy_npm_client_goes_on() {
    goes_on_over_restarts(clients::ALL[0]).await;
}

#[tokio::test]
async fn the_modern_npm_client_goes_on_in_legacy_mode() {
    goes_on_over_restarts(clients::ALL[1]).await;
}

#[tokio::test]
async fn the_modern_npm_client_goes_on() {
    goes_on_over_restarts(clients::ALL[2]).await;
}

#[tokio::test]
async fn the_python_client_goes_on_in_legacy_mode() {
    goes_on_over_restarts(clients::ALL[3]).await;
}

#[tokio::test]
async fn the_python_client_goes_on() {
    goes_on_over_restarts(clients::ALL[4]).await;
}

async fn goes_on_over_restarts(client: Client) {
    let everything = Everything::start().await;
    let mut cluster = Cluster::start(2, 2, &[&everything.upstream("everything")]).await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    let more = ["--loop", LOOP_SECONDS].map(str::to_owned);
    let mut run = tokio::spawn(clients::run(client, cluster.urls(), more.into()));
    for edge in 0..2 {
        tokio::select! {
            () = busy(&cluster) => {}
            ended = &mut run => panic!("the client ended before restart {edge}: {ended:?}"),
        }
        assert_eq!(cluster.edges[edge].restart().await, Some(0));
        goes_on(&mut session, &cluster).await;
    }
    tokio::select! {
        () = busy(&cluster) => {}
        ended = &mut run => panic!("the client ended after the restarts: {ended:?}"),
    }
    only_lost_connections(&run.await.unwrap());
    goes_on(&mut session, &cluster).await;
    let opened = 1 + u64::from(client.version == LEGACY);
    assert_eq!(
        cluster.sessions().await,
        opened,
        "a client had to initialize again"
    );
}

/// Waits until the client's calls pass through both edges.
async fn busy(cluster: &Cluster) {
    for edge in &cluster.edges {
        let before = exchanges(edge).await;
        wait::until("calls through every edge", async || {
            (exchanges(edge).await >= before + WARM).then_some(())
        })
        .await;
    }
}

async fn exchanges(edge: &Server) -> u64 {
    edge.metric("hexagram_edge_exchanges_total").await
}

/// The session works through every edge.
async fn goes_on(session: &mut Session, cluster: &Cluster) {
    for edge in &cluster.edges {
        session.reconnect(edge.listen).await;
        let reply = session.ask("tools/call", &echo("on")).await;
        assert_eq!(text(&reply), "Echo: on");
    }
}

fn only_lost_connections(report: &Report) {
    eprintln!("{:?}: {}", report.client, report.line);
    assert!(report.number("ok") > 0, "{report:?}");
    for (cause, _) in report.failures() {
        assert!(
            CLOSED.iter().any(|known| cause.contains(known)),
            "{report:?}"
        );
    }
    assert!(
        report.requests().iter().all(|count| *count > 0),
        "{report:?}"
    );
}

/// A crash closes connections as a restart does, and costs no more.
#[tokio::test]
async fn an_edge_that_crashes() {
    let mut cluster = Cluster::start(2, 1, &["--demo=echo"]).await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    cluster.edges[0].process.kill().await;
    session.reconnect(cluster.edges[1].listen).await;
    let hello = json!({"message": "on"});
    assert_eq!(text(&session.call("echo", &hello).await), "on");
    cluster.edges[0].process.respawn();
    cluster.edges[0].serving().await;
    session.reconnect(cluster.edges[0].listen).await;
    assert_eq!(text(&session.call("echo", &hello).await), "on");
}
