//! JSON-RPC batches: in sessions of 2025-03-26, and nowhere else (issue 4).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::collections::HashMap;

use cluster::http::{Ask, Reply};
use cluster::mcp::{Refusal, Session, call, echo, refused};
use cluster::{Cluster, Server};
use serde_json::{Value, json};

const BATCHING: &str = "2025-03-26";

async fn session(server: &Server) -> Session {
    Session::open_version(server.listen, BATCHING).await
}

async fn send(session: &mut Session, batch: &Value) -> Reply {
    let ask = session.signed(Ask::post(batch.to_string()));
    session.http.send(&ask).await
}

fn request(id: &Value, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn ping(id: u64) -> Value {
    request(&json!(id), "ping", &json!({}))
}

fn say(id: u64, text: &str) -> Value {
    request(&json!(id), "tools/call", &echo(text))
}

fn cancelled() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}})
}

/// The responses by their ids.
fn by_id(responses: &[Value]) -> HashMap<String, Value> {
    let all = responses.iter();
    all.map(|response| (response["id"].to_string(), response.clone()))
        .collect()
}

#[track_caller]
fn array(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let response = reply.response();
    response
        .as_array()
        .unwrap_or_else(|| panic!("{reply:?}"))
        .clone()
}

#[tokio::test]
async fn requests_are_answered_together_and_the_rest_is_heard() {
    let server = Server::local(&[]).await;
    let mut session = session(&server).await;
    let batch = json!([ping(10), cancelled(), say(11, "a"), say(12, "b")]);
    let responses = array(&send(&mut session, &batch).await);
    let responses = by_id(&responses);
    assert_eq!(responses.len(), 3, "{responses:?}");
    assert_eq!(responses["10"]["result"], json!({}));
    for (id, text) in [("11", "a"), ("12", "b")] {
        assert_eq!(responses[id]["result"]["content"][0]["text"], text);
    }
}

#[tokio::test]
async fn what_wants_no_answer_is_accepted() {
    let server = Server::local(&[]).await;
    let mut session = session(&server).await;
    let response = json!({"jsonrpc": "2.0", "id": "demo/1", "result": {}});
    let reply = send(&mut session, &json!([cancelled(), response])).await;
    assert_eq!((reply.status, reply.text().as_str()), (202, ""));
}

#[tokio::test]
async fn progress_makes_it_a_stream_with_every_answer() {
    let server = Server::local(&[]).await;
    let mut session = session(&server).await;
    let mut count = call("countdown", &json!({"steps": 3}));
    count["_meta"] = json!({"progressToken": "p"});
    let count = request(&json!("count"), "tools/call", &count);
    let reply = send(&mut session, &json!([say(1, "a"), count, ping(2)])).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let messages = reply.messages();
    let (notes, responses): (Vec<_>, Vec<_>) = messages
        .into_iter()
        .partition(|message| message.get("method").is_some());
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(
        notes
            .iter()
            .all(|note| note["params"]["progressToken"] == "p")
    );
    let responses = by_id(&responses);
    assert_eq!(responses.len(), 3, "{responses:?}");
    assert!(
        responses
            .values()
            .all(|response| response.get("result").is_some())
    );
}

#[tokio::test]
async fn each_element_that_is_no_message_gets_its_error() {
    let server = Server::local(&[]).await;
    let mut session = session(&server).await;
    let init = request(&json!(7), "initialize", &json!({}));
    let nested = json!([ping(1)]);
    let batch = json!([1, nested, init, {"jsonrpc": "2.0", "id": 8}, ping(9)]);
    let responses = array(&send(&mut session, &batch).await);
    assert_eq!(responses.len(), 5, "{responses:?}");
    let codes: Vec<_> = responses
        .iter()
        .map(|response| response["error"]["code"].as_i64())
        .collect();
    let invalid = Some(-32600);
    assert_eq!(codes, [invalid, invalid, invalid, invalid, None]);
    let ids: Vec<_> = responses.iter().map(|response| &response["id"]).collect();
    assert_eq!(
        ids,
        [&json!(null), &json!(null), &json!(7), &json!(8), &json!(9)]
    );
    let only = array(&send(&mut session, &json!([1])).await);
    assert_eq!(only.len(), 1);
}

#[tokio::test]
async fn a_batch_that_is_none_is_refused_as_a_whole() {
    let server = Server::local(&[]).await;
    let mut session = session(&server).await;
    let invalid = Refusal(400, json!(null), -32600, "invalid_request");
    refused(&send(&mut session, &json!([])).await, &invalid);
    let long: Vec<_> = (0..65).map(ping).collect();
    refused(&send(&mut session, &json!(long)).await, &invalid);
    let ask = session.signed(Ask::post("[{\"jsonrpc\":"));
    let reply = session.http.send(&ask).await;
    refused(&reply, &Refusal(400, json!(null), -32700, "parse_error"));
    let most: Vec<_> = (0..64).map(ping).collect();
    assert_eq!(array(&send(&mut session, &json!(most)).await).len(), 64);
}

#[tokio::test]
async fn other_revisions_have_no_batches() {
    let server = Server::local(&[]).await;
    let invalid = Refusal(400, json!(null), -32600, "invalid_request");
    for version in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let mut session = Session::open_version(server.listen, version).await;
        refused(&send(&mut session, &json!([ping(1)])).await, &invalid);
    }
    // The session's revision counts, not what a request claims.
    let mut session = session(&server).await;
    let batch = json!([ping(1)]).to_string();
    let no_session = Ask::post(batch.clone());
    refused(&session.http.send(&no_session).await, &invalid);
    let modern = session
        .signed(Ask::post(batch))
        .header("mcp-protocol-version", cluster::mcp::MODERN);
    refused(&session.http.send(&modern).await, &invalid);
}

#[tokio::test]
async fn a_deleted_session_has_none_either() {
    let cluster = Cluster::start(2, 1, &["--demo=echo"]).await;
    let mut session = session(&cluster.edges[0]).await;
    session.reconnect(cluster.edges[1].listen).await;
    assert_eq!(session.delete().await.status, 200);
    let reply = send(&mut session, &json!([ping(1)])).await;
    let gone = Refusal(404, json!(null), -32001, "session_not_found");
    refused(&reply, &gone);
}
