//! When an edge is ready: what its links say, and time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::StreamExt;
use hexagram_core::{KeyRing, ShardCount, spread};
use hexagram_proto::link::edge_message;
use hexagram_proto::{LINK_VERSION_MAX, outbox};
use hexagram_runtime::health::Health;

use super::*;
use crate::link::Link;
use crate::testing::{board, linked};

/// An edge with two workers, `a` and `b`, no link up.
struct Scene {
    links: Arc<Links>,
    health: Health,
}

impl Scene {
    fn new() -> Self {
        let names: [WorkerId; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        let map = spread(1, ShardCount::default(), &names).unwrap();
        let health = Health::new();
        Self {
            links: Arc::new(Links {
                board: Arc::new(board(&map)),
                hello: Hello::default(),
                sealer: Arc::new(Sealer::new(&KeyRing::generate(1, [1; 32]), "c")),
                ready: health.condition("links"),
                complete: CancellationToken::new(),
                served: Mutex::default(),
            }),
            health,
        }
    }

    /// The link to a worker comes up or breaks.
    fn set(&self, name: &str, up: bool) {
        let worker: WorkerId = name.parse().unwrap();
        let link = || {
            let (outbox, _) = outbox();
            Arc::new(Link::new(
                worker.clone(),
                &Hello::default(),
                LINK_VERSION_MAX,
                outbox,
                Vec::new(),
            ))
        };
        let state = self.links.board.state();
        state.links[&worker].live.store(up.then(link));
        self.links.report_readiness();
    }

    fn is_ready(&self) -> bool {
        self.health.report().ready
    }

    fn why(&self) -> String {
        let report = self.health.report();
        report.conditions["links"].why.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn ready_once_all_are_linked_and_as_long_as_one_is() {
    let scene = Scene::new();
    assert!(!scene.is_ready());
    scene.set("a", true);
    assert!(!scene.is_ready(), "b may come in a moment");
    scene.set("b", true);
    assert!(scene.is_ready());
    scene.set("a", false);
    assert!(scene.is_ready(), "b's shards are served");
    scene.set("b", false);
    assert!(scene.is_ready(), "others may take its shards in a moment");
    let clock = tokio::spawn(Arc::clone(&scene.links).keep_time(60));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(scene.is_ready());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!scene.is_ready());
    scene.set("a", true);
    assert!(scene.is_ready(), "it was complete before");
    assert_eq!(scene.why(), "1 of 2 workers linked");
    clock.abort();
}

#[tokio::test]
async fn an_edge_without_workers_is_not_complete() {
    let scene = Scene::new();
    let map = scene.links.board.state().map.clone();
    scene.links.board.assign(&map, |_, _| WorkerLinks::new());
    scene.links.report_readiness();
    assert!(!scene.links.complete.is_cancelled());
}

#[tokio::test]
async fn links_to_workers_without_shards_make_no_edge_ready() {
    let scene = Scene::new();
    let owner: WorkerId = "a".parse().unwrap();
    let map = spread(2, ShardCount::default(), &[owner]).unwrap();
    scene.links.board.assign(&map, |_, old| old.clone());
    scene.links.complete.cancel();
    scene.set("b", true);
    assert!(!scene.is_ready());
    assert_eq!(scene.why(), "1 of 2 workers linked, and no shard is theirs");
    scene.set("a", true);
    assert!(scene.is_ready());
}

#[tokio::test]
async fn what_keeps_a_link_down_is_told_until_it_is_up() {
    let scene = Scene::new();
    let worker: WorkerId = "b".parse().unwrap();
    scene.links.board.state().links[&worker]
        .trouble
        .begins("closed by the worker".to_owned());
    scene.set("a", true);
    assert_eq!(
        scene.why(),
        "1 of 2 workers linked; b: closed by the worker"
    );
    let troubles = |scene: &Scene| scene.links.status().into_iter().map(|link| link.trouble);
    let told = Some("closed by the worker".to_owned());
    assert!(troubles(&scene).eq([None, told]));
    scene.set("b", true);
    assert!(troubles(&scene).eq([None::<String>, None]));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stays_away_does_not_keep_the_edge_from_serving() {
    let scene = Scene::new();
    scene.set("a", true);
    let clock = tokio::spawn(Arc::clone(&scene.links).keep_time(60));
    tokio::time::sleep(Duration::from_secs(READY_ANYWAY - 1)).await;
    assert!(!scene.is_ready());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(scene.is_ready());
    clock.abort();
}

#[tokio::test]
async fn the_status_names_who_is_linked() {
    let scene = Scene::new();
    scene.set("a", true);
    let links = scene.links.status();
    let ups: Vec<_> = links
        .iter()
        .map(|link| (link.worker.as_str(), link.up))
        .collect();
    assert_eq!(ups, [("a", true), ("b", false)]);
}

#[tokio::test]
async fn a_worker_is_told_of_another_ring_once() {
    let (_board, link, mut sent) = linked();
    for keys in [&[1][..], &[1], &[2, 1], &[2, 1]] {
        link.tell_keys(keys);
    }
    let messages = sent.next().await.unwrap();
    let keys = messages
        .into_iter()
        .filter_map(|message| match message.kind {
            Some(edge_message::Kind::Keys(keys)) => Some(keys.fingerprints),
            _ => None,
        });
    assert_eq!(keys.collect::<Vec<_>>(), [vec![1], vec![2, 1]]);
}
