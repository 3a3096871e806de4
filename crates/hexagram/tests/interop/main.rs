//! Other clients and servers than those that most tests run: every client at
//! one server, every server with a client of each era (issue 4).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../cluster/mod.rs"]
mod cluster;

mod inspector;
mod python;
mod rust;

use cluster::everything::Everything;
use cluster::{Cluster, clients};

#[tokio::test]
async fn every_client_through_two_edges() {
    let everything = Everything::start().await;
    let cluster = Cluster::start(2, 2, &[&everything.upstream("everything")]).await;
    let urls = cluster.urls();
    tokio::join!(
        clients::tour_of(&clients::OTHERS, &urls),
        inspector::tour(&urls),
        rust::tour(&urls),
    );
}
