//! Calls that a lost worker may have run already.

use super::*;
use hexagram_upstreams::Retry;

/// Three tools, of which two declare that they may run twice.
fn declaring() -> Value {
    json!({"tools": [
        {"name": "read", "annotations": {"readOnlyHint": true}},
        {"name": "same", "annotations": {"idempotentHint": true, "readOnlyHint": false}},
        {"name": "act", "annotations": {"destructiveHint": false}},
    ]})
}

/// A server of the legacy era, whose `tools/list` answers so.
fn legacy(request: &Request, list: impl FnOnce(&Request) -> Vec<u8>) -> Vec<u8> {
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    match body["method"].as_str() {
        Some("initialize") => {
            let capabilities = json!({"tools": {}});
            let version = &body["params"]["protocolVersion"];
            result(
                request,
                &json!({"protocolVersion": version, "capabilities": capabilities}),
            )
        }
        Some("server/discover") => error(request, -32601),
        Some("tools/list") => list(request),
        Some(_) if body.get("id").is_some() => result(request, &json!({"content": []})),
        _ => reply("202 Accepted", "", ""),
    }
}

/// Names of the tools that ran.
fn ran(server: &Server) -> Vec<String> {
    let bodies = server.seen().into_iter();
    let bodies = bodies.filter_map(|seen| serde_json::from_str::<Value>(&seen.body).ok());
    let calls = bodies.filter(|body| body["method"] == "tools/call");
    let names = calls.map(|call| call["params"]["name"].as_str().unwrap().to_owned());
    names.collect()
}

/// Whether a call of `tool` runs although it may have run.
async fn runs(client: &Client, tool: &str) -> bool {
    let answer = client.ask_again("tools/call", &json!({"name": tool})).await;
    let code = answer["error"]["code"].as_i64();
    assert!(matches!(code, None | Some(-32012)), "{answer}");
    assert_eq!(answer["id"], 1, "{answer}");
    code.is_none()
}

async fn only_declared_tools_run(server: &Server) {
    let client = Client::of(vec![upstream(&server.url())]);
    assert!(runs(&client, "read").await && runs(&client, "same").await);
    assert!(!runs(&client, "act").await && !runs(&client, "unknown").await);
    assert_eq!(ran(server), ["read", "same"]);
    // For the first time anything runs, and lists may always be read again.
    let first = client.ask("tools/call", &json!({"name": "act"})).await;
    assert!(first.get("result").is_some(), "{first}");
    let list = client.ask_again("tools/list", &json!({})).await;
    assert_eq!(list["result"]["tools"][0]["name"], "read", "{list}");
}

#[tokio::test]
async fn a_legacy_upstreams_tools_run_again_as_they_declare() {
    let list = |request: &Request| result(request, &declaring());
    let server = Server::start(move |request: &Request| legacy(request, list)).await;
    only_declared_tools_run(&server).await;
}

#[tokio::test]
async fn a_modern_upstreams_tools_run_again_as_they_declare() {
    let server = Server::start(|request: &Request| {
        modern(request, |method| match method {
            "tools/list" => result(request, &declaring()),
            _ => result(request, &json!({"content": []})),
        })
    })
    .await;
    only_declared_tools_run(&server).await;
}

#[tokio::test]
async fn of_several_upstreams_each_is_asked_for_its_own() {
    let list = |request: &Request| result(request, &declaring());
    let one = Server::start(move |request: &Request| legacy(request, list)).await;
    let none = |request: &Request| result(request, &json!({"tools": [{"name": "read"}]}));
    let other = Server::start(move |request: &Request| legacy(request, none)).await;
    let upstreams = [("a", &one), ("b", &other)];
    let upstreams = upstreams.map(|(name, server)| upstream_called(name, &server.url()));
    let client = Client::of(upstreams.into());
    assert!(runs(&client, "a__read").await && !runs(&client, "b__read").await);
    assert!(!runs(&client, "c__read").await);
    assert_eq!((ran(&one).len(), ran(&other).len()), (1, 0));
}

#[tokio::test]
async fn what_is_not_believed_or_not_told_does_not_run() {
    let list = |request: &Request| result(request, &declaring());
    let server = Server::start(move |request: &Request| legacy(request, list)).await;
    let upstream_at = |server: &Server| Arc::into_inner(upstream(&server.url())).unwrap();
    let never = Arc::new(upstream_at(&server).retrying(Retry::Never));
    assert!(!runs(&Client::of(vec![never]), "read").await);
    let refuses = |request: &Request| error(request, -32603);
    let mute = Server::start(move |request: &Request| legacy(request, refuses)).await;
    let silent = Arc::new(upstream_at(&mute));
    assert!(!runs(&Client::of(vec![silent]), "read").await);
    assert_eq!((ran(&server).len(), ran(&mute).len()), (0, 0));
}
