//! Commands as upstreams whose children die: they are started again, for who
//! calls and for who only listens.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::path::Path;

use serde_json::json;

use cluster::listener::Listener;
use cluster::mcp::{Session, text};
use cluster::{Server, wait};

/// A server in shell: notes its start, shakes hands and says "up".
fn child(folder: &Path, rest: &str) -> String {
    let starts = folder.join("starts");
    let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"sh","version":"1"}}"#;
    let params = r#"{"level":"info","data":"up"}"#;
    let hello = format!(
        "read -r line; echo '{{\"jsonrpc\":\"2.0\",\"id\":\"0\",\"result\":{result}}}'; read -r line; \
         echo '{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{params}}}'"
    );
    format!(
        "--upstream=sh=echo >> '{}'; {hello}; {rest}",
        starts.display()
    )
}

fn starts(folder: &Path) -> usize {
    let starts = std::fs::read_to_string(folder.join("starts")).unwrap_or_default();
    starts.lines().count()
}

/// Answers calls under their own ids; one that says so kills it. One line: a
/// flag's value ends there.
const WORKS: &str = concat!(
    r#"while read -r line; do case $line in *die*) exit 1;; esac; "#,
    r#"id=${line#*\"id\":\"}; id=${id%%\"*}; "#,
    r#"echo "{\"jsonrpc\":\"2.0\",\"id\":\"$id\",\"result\":"#,
    r#"{\"content\":[{\"type\":\"text\",\"text\":\"ok\"}]}}"; done"#,
);

#[tokio::test]
async fn a_dead_child_is_replaced_for_the_next_call() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::local(&[&child(folder.path(), WORKS)]).await;
    let mut session = Session::open(server.listen).await;
    assert_eq!(text(&session.call("act", &json!({})).await), "ok");
    let before = starts(folder.path());
    let reply = session.call("die", &json!({})).await;
    let reason = &reply.response()["error"]["data"]["reason"];
    assert_eq!(reason, "outcome_unknown", "{reply:?}");
    assert_eq!(text(&session.call("act", &json!({})).await), "ok");
    assert_eq!(starts(folder.path()), before + 1);
    let told = "its command ended: it is started again";
    assert_eq!(server.process.log().matches(told).count(), 1);
}

#[tokio::test]
async fn a_child_that_crashes_in_a_loop_is_started_again_for_who_only_listens() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::local(&[&child(folder.path(), "exit 1")]).await;
    let mut session = Session::open(server.listen).await;
    let mut stream = Listener::listen(server.listen, &session, None).await;
    let reply = session.call("act", &json!({})).await;
    assert!(reply.response()["error"].is_object(), "{reply:?}");
    // From now on only the stream is open. Every child says once that it is up.
    for _ in 0..2 {
        assert_eq!(stream.message().await.said(), "up");
    }
}

#[tokio::test]
async fn a_command_that_never_gets_ready_is_told_once_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("starts");
    let command = format!("--upstream=bad=echo >> '{}'; exit 1", path.display());
    let good = child(folder.path(), WORKS).replacen("sh=", "good=", 1);
    let server = Server::local(&[&command, &good]).await;
    let mut session = Session::open(server.listen).await;
    wait::until("a pause between starts", async || {
        let reply = session.call("bad__act", &json!({})).await;
        let message = reply.response()["error"]["message"].to_string();
        message.contains("times in a row").then_some(())
    })
    .await;
    let told = "its command keeps ending";
    assert_eq!(server.process.log().matches(told).count(), 1);
    assert_eq!(text(&session.call("good__act", &json!({})).await), "ok");
}
