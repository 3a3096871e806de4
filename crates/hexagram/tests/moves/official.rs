//! The official clients and the reference server, while shards move and a worker dies.

use crate::cluster::Controlled;
use crate::cluster::clients::{self, Report};
use crate::cluster::everything::Everything;
use crate::cluster::redis::Redis;
use crate::planned::shuffle;
use crate::size::Size;

/// How long each client calls in a loop, in seconds.
const LOOP: &str = "8";
/// "Outcome unknown", as the clients' libraries tell it.
const UNKNOWN: &str = "-32012";

struct Stage {
    cluster: Controlled,
    urls: Vec<String>,
    _everything: Everything,
    _redis: Redis,
}

impl Stage {
    async fn set() -> Self {
        let (everything, redis) = (Everything::start().await, Redis::start().await);
        let args = [everything.upstream("everything"), redis.argument()];
        let args = args.each_ref().map(String::as_str);
        let cluster = Controlled::start(2, 3, &args, &[]).await;
        Self {
            urls: cluster.edges.iter().map(|edge| edge.url()).collect(),
            cluster,
            _everything: everything,
            _redis: redis,
        }
    }
}

/// Their whole tour, and calls in a loop: nothing fails.
#[tokio::test(flavor = "multi_thread")]
async fn official_clients_while_shards_move() {
    let stage = Stage::set().await;
    let talk = async {
        clients::tour(&stage.urls).await;
        clients::run_all(&stage.urls, &["--loop", LOOP]).await
    };
    let moves = Size::asked_for().moves;
    let (reports, ()) = tokio::join!(talk, shuffle(&stage.cluster, moves));
    for report in &reports {
        assert!(report.success && report.failures().is_empty(), "{report:?}");
    }
    tell("official clients", &reports, moves);
}

/// A worker dies under them: a call that ran there may be unknown, nothing else fails.
#[tokio::test(flavor = "multi_thread")]
async fn official_clients_while_a_worker_dies() {
    let mut stage = Stage::set().await;
    let run = clients::run_all(&stage.urls, &["--loop", LOOP]);
    let edge = &stage.cluster.edges[0];
    let kill = async {
        let name = "hexagram_edge_exchanges_total";
        crate::cluster::wait::until("calls of all clients", async || {
            (edge.metric(name).await > 200).then_some(())
        })
        .await;
        stage.cluster.workers[0].process.kill().await;
    };
    let (reports, ()) = tokio::join!(run, kill);
    for report in &reports {
        for (cause, _) in report.failures() {
            assert!(cause.contains(UNKNOWN), "{report:?}");
        }
    }
    tell("official clients, kill -9 of a worker", &reports, 0);
}

fn tell(scenario: &str, reports: &[Report], moves: u64) {
    let calls: u64 = reports.iter().map(|report| report.number("ok")).sum();
    let failed: u64 = reports.iter().map(|report| report.number("failed")).sum();
    eprintln!("{scenario}: {calls} calls, {failed} failed, {moves} moves");
}
