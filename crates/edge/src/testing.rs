//! What several test modules share: a worker's link without a worker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hexagram_core::{ShardCount, ShardMap, WorkerId, spread};
use hexagram_proto::link::{EdgeMessage, Hello, Open, Owned};
use hexagram_proto::{Drained, LINK_VERSION_MAX, outbox};
use hexagram_runtime::metrics::Metrics;

use crate::link::Link;
use crate::metrics::EdgeMetrics;
use crate::routing::Routed;
use crate::switchboard::{Switchboard, WorkerLink};
use hexagram_proto::WorkerAddress;

/// A link that nobody dials.
pub(crate) fn unlinked() -> Arc<WorkerLink> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let task = runtime.spawn(std::future::pending());
    runtime.shutdown_background();
    Arc::new(WorkerLink {
        address: WorkerAddress::Tcp("127.0.0.1:1".to_owned()),
        live: Arc::new(ArcSwapOption::empty()),
        trouble: Arc::default(),
        task,
    })
}

/// The switchboard of a map whose workers have no link yet.
pub(crate) fn board(map: &ShardMap) -> Switchboard {
    let metrics = Arc::new(EdgeMetrics::register(&Metrics::new()));
    let board = Switchboard::new(map.clone(), metrics);
    let workers = map.shards_per_worker().into_keys();
    let links = workers.map(|name| (name, unlinked())).collect();
    board.assign(map, |_, _| links);
    board
}

/// A static map of one shard, and its owner's link with all that it sends.
pub(crate) fn linked() -> (Arc<Switchboard>, Arc<Link>, Drained<EdgeMessage>) {
    let worker: WorkerId = "worker-0".parse().unwrap();
    let shards = ShardCount::try_from(1).unwrap();
    let board = board(&spread(1, shards, std::slice::from_ref(&worker)).unwrap());
    let (outbox, sent) = outbox();
    let hello = Hello {
        shards: 1,
        owned: vec![Owned { shard: 0, epoch: 1 }],
        ..Hello::default()
    };
    let link = Link::new(worker.clone(), &hello, LINK_VERSION_MAX, outbox, Vec::new());
    let link = Arc::new(link);
    board.state().links[&worker]
        .live
        .store(Some(Arc::clone(&link)));
    board.greet(&link);
    (Arc::new(board), link, sent)
}

/// A client's request for the first shard.
pub(crate) fn request() -> Routed {
    Routed {
        shard: ShardCount::default().shard(0).unwrap(),
        open: Open {
            attempt: 1,
            ..Open::default()
        },
        claims: None,
        begins: true,
        standing: false,
    }
}
