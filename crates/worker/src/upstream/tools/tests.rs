use std::future::{Ready, pending, ready};

use serde_json::json;
use tokio::sync::oneshot;

use super::*;

type Listed = Result<Vec<Value>, UpstreamError>;

fn listed(version: u32) -> Listed {
    let properties = json!({ "version": version });
    Ok(vec![json!({
        "name": "x",
        "inputSchema": {"properties": properties},
        "annotations": {"readOnlyHint": version % 2 == 1},
    })])
}

fn refused() -> Ready<Listed> {
    ready(Err(UpstreamError::Removed))
}

async fn is_asked(tools: &Tools, tool: &str) -> bool {
    tools.properties(tool, refused).await.is_err()
}

async fn version(tools: &Tools, of: u32) -> Value {
    let known = tools.properties("x", || ready(listed(of))).await;
    known.expect("a schema")["version"].clone()
}

/// Whether `tool` may run twice, if its upstream lists version `of` when asked.
async fn may(tools: &Tools, tool: &str, of: u32) -> bool {
    let may = tools.may_run_twice(tool, || ready(listed(of))).await;
    may.expect("a list")
}

#[tokio::test(start_paused = true)]
async fn tools_are_asked_for_once_and_again_after_a_while() {
    let tools = Tools::default();
    assert!(is_asked(&tools, "x").await);
    assert_eq!(version(&tools, 1).await, 1);
    assert!(!is_asked(&tools, "x").await && !is_asked(&tools, "y").await);
    tokio::time::advance(LIFETIME * 2).await;
    assert!(is_asked(&tools, "y").await);
    // A listing of its own accord comes too late for who starts it.
    assert_eq!(version(&tools, 2).await, 1);
    tokio::task::yield_now().await;
    assert_eq!(version(&tools, 3).await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_tool_declares_is_never_outdated() {
    let tools = Tools::default();
    assert!(tools.may_run_twice("x", refused).await.is_err());
    assert!(may(&tools, "x", 1).await && !may(&tools, "unknown", 1).await);
    // Fresh: it is not asked.
    assert!(may(&tools, "x", 2).await);
    tokio::time::advance(LIFETIME * 2).await;
    assert!(!may(&tools, "x", 2).await);
    tools.forget(Instant::now());
    assert!(may(&tools, "x", 3).await);
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_is_asked_for_once() {
    let tools = Tools::default();
    version(&tools, 1).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let begun = Instant::now();
    tools.forget(begun);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(version(&tools, 2).await, 2);
    // Another call that was refused for the same change.
    tools.forget(begun);
    assert_eq!(version(&tools, 3).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_listing_is_shared_and_delays_no_known_tool() {
    let tools = Tools::default();
    version(&tools, 1).await;
    tokio::time::advance(LIFETIME * 2).await;
    let (answer, answered) = oneshot::channel::<Listed>();
    let slow = async move { answered.await.expect("an answer") };
    let one = tools.properties("new", || slow);
    tokio::pin!(one);
    assert!((&mut one).now_or_never().is_none());
    assert_eq!(version(&tools, 3).await, 1);
    let other = tools.properties("other", pending::<Listed>);
    answer.send(listed(2)).expect("a listing");
    let (one, other) = tokio::join!(one, other);
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(version(&tools, 3).await, 2);
}
