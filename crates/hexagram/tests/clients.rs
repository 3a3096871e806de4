//! The main job: unmodified clients reach real servers through Hexagram, in
//! one process and in many (issue 3, "Done when").

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::everything::Everything;
use cluster::process::Launch;
use cluster::{Cluster, Server, clients, proc_table, tools, wait};

#[tokio::test]
async fn local_with_an_http_upstream() {
    let everything = Everything::start().await;
    let local = Server::local(&[&everything.upstream("everything")]).await;
    clients::tour(&[local.url()]).await;
}

#[tokio::test]
async fn local_with_a_stdio_upstream() {
    let upstream = format!("--upstream=everything={}", Everything::stdio());
    let mut local = Server::local(&[&upstream]).await;
    clients::tour(&[local.url()]).await;
    no_child_is_left(&mut local).await;
}

/// The command of the issue, to the letter. npx finds the package in the folder
/// it is started in, so that it needs no network.
#[tokio::test]
async fn local_with_the_npx_command_of_the_readme() {
    let cache = tempfile::tempdir().unwrap();
    let launch = Launch::hexagram()
        .folder(tools::node_packages())
        .variable("PATH", tools::path_with_node())
        .variable("npm_config_cache", cache.path())
        .variable("npm_config_offline", "true");
    let upstream = "--upstream=everything=npx -y @modelcontextprotocol/server-everything@2026.8.31";
    let mut local = Server::local_as(launch, &[upstream]).await;
    clients::tour(&[local.url()]).await;
    no_child_is_left(&mut local).await;
}

#[tokio::test]
async fn local_with_two_upstreams() {
    let (one, two) = tokio::join!(Everything::start(), Everything::start());
    let local = Server::local(&[&one.upstream("one"), &two.upstream("two")]).await;
    clients::tour(&[local.url()]).await;
}

#[tokio::test]
async fn one_edge_and_two_workers() {
    let everything = Everything::start().await;
    let cluster = Cluster::start(1, 2, &[&everything.upstream("everything")]).await;
    clients::tour(&cluster.urls()).await;
}

#[tokio::test]
async fn two_edges_and_two_workers_in_turn() {
    let everything = Everything::start().await;
    let cluster = Cluster::start(2, 2, &[&everything.upstream("everything")]).await;
    clients::tour(&cluster.urls()).await;
}

/// Ends the process while one session has a child of its own, and looks for
/// what the child and its own children left behind.
async fn no_child_is_left(local: &mut Server) {
    let mut session = cluster::mcp::Session::open(local.listen).await;
    cluster::mcp::result(&session.ask("tools/list", &serde_json::json!({})).await);
    let groups = proc_table::child_groups(local.process.pid());
    assert!(!groups.is_empty(), "the upstream runs as a child");
    assert_eq!(local.process.end().await.code(), Some(0));
    wait::until("the end of all children", async || {
        proc_table::members(&groups).is_empty().then_some(())
    })
    .await;
}
