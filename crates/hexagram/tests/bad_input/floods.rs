//! Subscriptions by the hundred: each is refused or held within bounds, and
//! ends with its client.

use futures_util::future::join_all;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::cluster::http::{Ask, Http};
use crate::cluster::mcp::{MODERN, Refusal, Session, call, modern, refused, result};
use crate::cluster::{Server, proc_table, wait};

/// Requests that one HTTP/2 connection may have under way.
const STREAMS: usize = 256;
/// Subscriptions on connections of their own.
const MANY: usize = 400;
/// What all of them may hold, in KiB.
const SLACK_KIB: u64 = 100 << 10;

fn listen(resources: usize) -> Ask {
    let named: Vec<_> = (0..resources).map(|n| format!("test://{n}")).collect();
    let filter = json!({"toolsListChanged": true, "resourceSubscriptions": named});
    modern(
        5,
        "subscriptions/listen",
        &json!({ "notifications": filter }),
    )
}

async fn demo() -> (Server, Session) {
    let server = Server::local(&["--demo=conformance"]).await;
    let session = Session::open(server.listen).await;
    (server, session)
}

/// A neighbour's calls are answered.
async fn goes_on(session: &mut Session) {
    for _ in 0..20 {
        let reply = session.call("test_simple_text", &json!({})).await;
        assert!(result(&reply)["content"].is_array());
    }
}

/// Waits until no subscription is left.
async fn none_left(server: &Server) {
    wait::until("the streams' end", async || {
        (server.metric("hexagram_edge_streams").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn more_resources_than_one_may_name() {
    let (server, mut session) = demo().await;
    let mut http = Http::connect(server.listen).await;
    for many in [1001, 20_000] {
        let expected = Refusal(400, json!(5), -32602, "invalid_params");
        let error = refused(&http.send(&listen(many)).await, &expected);
        assert!(error["message"].as_str().unwrap().contains("1000"));
    }
    http.start(&listen(1000)).await;
    assert_eq!(http.head().await.unwrap().status, 200);
    goes_on(&mut session).await;
}

#[tokio::test]
async fn filters_that_are_none() {
    let (server, _session) = demo().await;
    let mut http = Http::connect(server.listen).await;
    for params in [
        json!({}),
        json!({"notifications": []}),
        json!({"notifications": {"toolsListChanged": "yes"}}),
        json!({"notifications": {"resourceSubscriptions": "test://1"}}),
    ] {
        let reply = http.send(&modern(5, "subscriptions/listen", &params)).await;
        let expected = Refusal(400, json!(5), -32602, "invalid_params");
        refused(&reply, &expected);
    }
}

#[tokio::test]
async fn many_connections() {
    let (server, mut session) = demo().await;
    let pid = server.process.pid();
    let before = proc_table::resident_kib(pid);
    let mut listeners = join_all((0..MANY).map(|_| Http::connect(server.listen))).await;
    for http in &mut listeners {
        http.start(&listen(10)).await;
    }
    for http in &mut listeners {
        let head = wait::within("the stream's head", http.head()).await;
        assert_eq!(head.unwrap().status, 200);
    }
    goes_on(&mut session).await;
    let after = proc_table::resident_kib(pid);
    assert!(
        after < before + SLACK_KIB,
        "{before} KiB before, {after} after"
    );
    drop(listeners);
    none_left(&server).await;
    goes_on(&mut session).await;
}

/// A subscription over HTTP/2, once its first message is there.
async fn subscribed(client: &Client, url: &str) -> Response {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"notifications": {"toolsListChanged": true}, "_meta": meta});
    let body = crate::cluster::mcp::request(5, "subscriptions/listen", &params);
    let request = client
        .post(url)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", "subscriptions/listen")
        .body(body);
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.chunk().await.unwrap().expect("an acknowledgement");
    response
}

/// All that one HTTP/2 connection may carry; one more waits for a place.
#[tokio::test]
async fn many_on_one_connection() {
    let (server, mut session) = demo().await;
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let url = server.url();
    let all = join_all((0..STREAMS).map(|_| subscribed(&client, &url)));
    let mut all = wait::within("the subscriptions", all).await;
    assert_eq!(server.metric("hexagram_edge_streams").await, STREAMS as u64);
    goes_on(&mut session).await;
    let mut http = Http::connect(server.listen).await;
    let modern_call = modern(6, "tools/call", &call("test_simple_text", &json!({})));
    assert!(result(&http.send(&modern_call).await)["content"] != Value::Null);
    all.pop();
    all.push(wait::within("one more", subscribed(&client, &url)).await);
    drop((all, client));
    none_left(&server).await;
}
