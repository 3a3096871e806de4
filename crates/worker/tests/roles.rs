//! Which of a worker's services each role may ask, where it has to prove its role.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "edge and pair are shared with other tests")]

mod edge;
mod pair;

use hexagram_core::ShardCount;
use hexagram_proto::admin::admin_client::AdminClient;
use hexagram_proto::admin::{MapRequest, WatchRequest};
use hexagram_proto::handoff::{Move, TailQuery};
use hexagram_worker::Peer;
use tonic::{Code, Status};

use edge::{CLUSTER, Edge};
use pair::Cluster;

/// Whether it was the role that was refused. What else a service has against the question
/// says that it was asked.
fn is_denied<T>(asked: Result<T, Status>, peer: Peer) -> bool {
    let Some(status) = asked.err() else {
        return false;
    };
    let is_denied = status.code() == Code::PermissionDenied;
    let said = format!("another role ({peer})");
    assert_eq!(is_denied, status.message().contains(&said), "{status}");
    is_denied
}

async fn denies_watching(cluster: &Cluster, peer: Peer) -> bool {
    let request = WatchRequest {
        cluster: CLUSTER.to_owned(),
        shards: u32::from(ShardCount::default().get()),
    };
    let mut client = AdminClient::new(cluster.channel(0).await);
    is_denied(client.watch(request).await, peer)
}

async fn denies_the_map(cluster: &Cluster, peer: Peer) -> bool {
    let request = MapRequest {
        cluster: CLUSTER.to_owned(),
        shards: u32::from(ShardCount::default().get()),
    };
    let mut client = AdminClient::new(cluster.channel(0).await);
    is_denied(client.map(request).await, peer)
}

async fn denies_handoffs(cluster: &Cluster, peer: Peer) -> bool {
    let mut client = cluster.handoff(0).await;
    let prepared = client.prepare(Move::default()).await.map(drop);
    let ran = client.runs(TailQuery::default()).await.map(drop);
    let denied = [prepared, ran].map(|asked| is_denied(asked, peer));
    assert_eq!(denied[0], denied[1]);
    denied[0]
}

async fn denies_links(cluster: &Cluster, peer: Peer) -> bool {
    let Some(refusal) = Edge::try_connect(&cluster.workers[0]).await.err() else {
        return false;
    };
    assert!(
        refusal.contains(&format!("another role ({peer})")),
        "{refusal}"
    );
    true
}

#[tokio::test]
async fn each_role_may_ask_what_it_needs_and_nothing_else() {
    for peer in [Peer::Edge, Peer::Worker, Peer::Controller] {
        let cluster = Cluster::among(peer);
        let links = denies_links(&cluster, peer).await;
        assert_eq!(links, peer != Peer::Edge, "links for a {peer}");
        let handoffs = denies_handoffs(&cluster, peer).await;
        assert_eq!(handoffs, peer != Peer::Worker, "handoffs for a {peer}");
        let watching = denies_watching(&cluster, peer).await;
        assert_eq!(watching, peer != Peer::Controller, "watching for a {peer}");
        assert!(
            !denies_the_map(&cluster, peer).await,
            "the map for a {peer}"
        );
    }
}

#[tokio::test]
async fn where_nobody_proves_his_role_all_are_served() {
    let cluster = Cluster::start();
    assert!(!denies_links(&cluster, Peer::Edge).await);
    assert!(!denies_handoffs(&cluster, Peer::Edge).await);
    assert!(!denies_watching(&cluster, Peer::Edge).await);
}
