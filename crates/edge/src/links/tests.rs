//! When an edge is ready: what its links say, and time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hexagram_core::{ShardCount, spread};
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;

use super::*;

/// An edge with two workers, `a` and `b`, no link up.
struct Scene {
    links: Arc<Links>,
    health: Health,
}

impl Scene {
    fn new() -> Self {
        let names: [WorkerId; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        let map = spread(1, ShardCount::default(), &names).unwrap();
        let links = names.into_iter().map(|name| (name, unlinked())).collect();
        let health = Health::new();
        Self {
            links: Arc::new(Links {
                routes: ArcSwap::from_pointee(Routes::new(map, links)),
                hello: Hello::default(),
                metrics: Arc::new(EdgeMetrics::register(&Metrics::new())),
                ready: health.condition("links"),
                complete: CancellationToken::new(),
            }),
            health,
        }
    }

    /// The link to a worker comes up or breaks.
    fn set(&self, name: &str, up: bool) {
        let worker: WorkerId = name.parse().unwrap();
        let link = || {
            let (outbox, _) = outbox();
            Arc::new(Link::new(worker.clone(), &Hello::default(), outbox))
        };
        let routes = self.links.routes.load();
        routes.links[&worker].live.store(up.then(link));
        self.links.report_readiness();
    }

    fn is_ready(&self) -> bool {
        self.health.report().ready
    }
}

fn unlinked() -> Arc<WorkerLink> {
    Arc::new(WorkerLink {
        address: WorkerAddress::Tcp("127.0.0.1:1".to_owned()),
        live: Arc::new(ArcSwapOption::empty()),
        task: tokio::spawn(std::future::pending()),
    })
}

#[tokio::test]
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
    assert!(!scene.is_ready());
    scene.set("a", true);
    assert!(scene.is_ready(), "it was complete before");
    let why = &scene.health.report().conditions["links"].why;
    assert_eq!(why, "1 of 2 workers linked");
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
async fn a_shard_without_a_link_is_refused_and_one_with_a_link_is_not() {
    let scene = Scene::new();
    scene.set("a", true);
    let map = scene.links.routes.load().map.clone();
    for shard in map.count().iter() {
        let up = map.assignment(shard).owner.as_str() == "a";
        match scene.links.owner(shard) {
            Ok(_) => assert!(up),
            Err(problem) => assert!(!up && matches!(problem, Problem::WorkerDown { .. })),
        }
    }
    let ups: Vec<_> = scene
        .links
        .status()
        .into_iter()
        .map(|link| link.up)
        .collect();
    assert_eq!(ups, [true, false]);
}
