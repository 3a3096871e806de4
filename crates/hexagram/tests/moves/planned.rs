//! Planned moves: ordered ones, a drain, and a worker that is asked to end.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use serde_json::json;

use crate::cluster::Controlled;
use crate::cluster::listener::Listener;
use crate::cluster::mcp::{Session, modern};
use crate::counter::Counter;
use crate::figures;
use crate::load::Load;

const MOVES: u64 = 60;
/// Standing streams of each era.
const STREAMS: usize = 5;

/// Two edges, three workers, and an upstream that counts.
pub(crate) async fn cluster() -> (Counter, Controlled) {
    let counter = Counter::start().await;
    let cluster = Controlled::start(2, 3, &[&counter.argument()], &[]).await;
    (counter, cluster)
}

pub(crate) struct Streams {
    legacy: Vec<Listener>,
    modern: Vec<Listener>,
    _sessions: Vec<Session>,
}

impl Streams {
    pub(crate) async fn open(cluster: &Controlled) -> Self {
        let (mut legacy, mut modern, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..STREAMS {
            let peer = cluster.edges[number % cluster.edges.len()].listen;
            let mut session = Session::open(peer).await;
            legacy.push(Listener::listen(peer, &session, None).await);
            // Its upstream session is opened by its first call.
            session.call("count", &json!({})).await;
            sessions.push(session);
            modern.push(subscribe(peer).await);
        }
        Self {
            legacy,
            modern,
            _sessions: sessions,
        }
    }

    /// How many calls it took to open them.
    pub(crate) fn calls(&self) -> u64 {
        self.legacy.len() as u64
    }

    /// Every stream still brings what the upstream says now.
    pub(crate) async fn still_hear(&mut self, counter: &Counter) {
        let params = json!({"level": "info", "data": "still there"});
        counter.say("notifications/message", &params);
        for stream in &mut self.legacy {
            while stream.message().await.message()["params"] != params {}
        }
        counter.say("notifications/tools/list_changed", &json!({}));
        for stream in &mut self.modern {
            let message = stream.message().await.message();
            assert_eq!(message["method"], "notifications/tools/list_changed");
        }
    }
}

async fn subscribe(peer: std::net::SocketAddr) -> Listener {
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let mut stream = Listener::open(peer, &modern(7, "subscriptions/listen", &filter)).await;
    stream.message().await;
    stream
}

/// A shard, and a worker that does not own it.
async fn draw(cluster: &Controlled, turn: u64, random: &RandomState) -> (String, String) {
    let owners = cluster.owners().await;
    let drawn = random.hash_one(turn) as usize;
    let shard = drawn % owners.len();
    let owner: usize = owners[shard]
        .0
        .strip_prefix("worker-")
        .unwrap()
        .parse()
        .unwrap();
    let workers = cluster.workers.len();
    let to = (owner + 1 + drawn / owners.len() % (workers - 1)) % workers;
    (shard.to_string(), format!("worker-{to}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn random_moves() {
    let (counter, cluster) = cluster().await;
    let mut streams = Streams::open(&cluster).await;
    let load = Load::start(&cluster).await;
    let random = RandomState::new();
    for turn in 0..MOVES {
        let (shard, to) = draw(&cluster, turn, &random).await;
        cluster.obey(&["move", &shard, &to]).await;
    }
    let calls = load.end().await;
    figures::print(&format!("{MOVES} moves"), &calls);
    figures::none_failed(&calls);
    streams.still_hear(&counter).await;
    assert_eq!(counter.calls(), (calls.len() + STREAMS) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain() {
    let (counter, mut cluster) = cluster().await;
    let mut streams = Streams::open(&cluster).await;
    let load = Load::start(&cluster).await;
    cluster.obey(&["drain", "worker-0"]).await;
    assert_eq!(cluster.count("worker-0").await, 0);
    assert_eq!(cluster.workers[0].process.end().await.code(), Some(0));
    let calls = load.end().await;
    figures::print("drain", &calls);
    figures::none_failed(&calls);
    streams.still_hear(&counter).await;
    assert_eq!(counter.calls(), (calls.len() + STREAMS) as u64);
}

/// Its exit drains first.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_end() {
    let (counter, mut cluster) = cluster().await;
    let mut streams = Streams::open(&cluster).await;
    let load = Load::start(&cluster).await;
    assert_eq!(cluster.workers[0].process.end().await.code(), Some(0));
    let calls = load.end().await;
    figures::print("SIGTERM", &calls);
    figures::none_failed(&calls);
    assert_eq!(cluster.count("worker-0").await, 0);
    streams.still_hear(&counter).await;
    assert_eq!(counter.calls(), (calls.len() + STREAMS) as u64);
}
