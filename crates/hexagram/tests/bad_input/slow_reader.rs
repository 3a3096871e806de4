//! A client that does not read what it asked for keeps nobody waiting, and
//! its reply does not pile up in memory.

use futures_util::future::join_all;
use serde_json::json;

use crate::cluster::mcp::{Session, call, text};
use crate::cluster::upstream::{Behaviour, Upstream};
use crate::cluster::{Cluster, proc_table};

/// Longer than all socket buffers on the way.
const LONG: usize = 12 << 20;
/// Notifications of 64 KiB: far more than memory should hold.
const EVENTS: usize = 4000;
/// What buffers on the way may take, in KiB.
const SLACK_KIB: u64 = 100 << 10;
const NEIGHBOURS: usize = 50;

/// One link only, so that all share it with the slow one.
async fn cluster(slow: Behaviour) -> (Cluster, Upstream, Upstream) {
    let (slow, good) = (
        Upstream::start(slow).await,
        Upstream::start(Behaviour::Good).await,
    );
    let cluster = Cluster::start(1, 1, &[&slow.argument("slow"), &good.argument("good")]).await;
    (cluster, slow, good)
}

async fn memory(cluster: &Cluster) -> u64 {
    let all = cluster.edges.iter().chain(&cluster.workers);
    all.map(|server| proc_table::resident_kib(server.process.pid()))
        .sum()
}

/// Starts a call whose reply nobody reads, and lets the neighbours call.
async fn neighbours_go_on(cluster: &Cluster) -> Session {
    let peer = cluster.edges[0].listen;
    let mut slow = Session::open(peer).await;
    let mut neighbours = join_all((0..NEIGHBOURS).map(|_| Session::open(peer))).await;
    let ask = slow.prepare("tools/call", &call("slow__act", &json!({})));
    slow.http.start(&ask).await;
    for _ in 0..3 {
        let arguments = json!({});
        let calls = neighbours
            .iter_mut()
            .map(|session| session.call("good__act", &arguments));
        for reply in join_all(calls).await {
            assert_eq!(text(&reply), "ok");
        }
    }
    slow
}

#[tokio::test]
async fn a_long_answer_that_nobody_reads() {
    let (cluster, _slow, _good) = cluster(Behaviour::LongJson(LONG)).await;
    let mut slow = neighbours_go_on(&cluster).await;
    // Late is not lost.
    assert_eq!(text(&slow.reply().await).len(), LONG);
}

#[tokio::test]
async fn a_long_stream_that_nobody_reads() {
    let (cluster, _slow, _good) = cluster(Behaviour::LongEvents(EVENTS)).await;
    let before = memory(&cluster).await;
    let _slow_client = neighbours_go_on(&cluster).await;
    let after = memory(&cluster).await;
    assert!(
        after < before + SLACK_KIB,
        "{before} KiB before, {after} after"
    );
}

#[tokio::test]
async fn a_stream_that_is_read_arrives_whole() {
    let events = 200;
    let (cluster, _slow, _good) = cluster(Behaviour::LongEvents(events)).await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    let reply = session.call("slow__act", &json!({})).await;
    assert_eq!(text(&reply), "ok");
    assert_eq!(reply.messages().len(), events + 1);
}
