//! Requests refused for their head: method, path, media types, versions, and
//! the names that a browser lured by another page would send.

use serde_json::{Value, json};

use crate::cluster::Server;
use crate::cluster::http::{Ask, Http};
use crate::cluster::mcp::{Refusal, Session, echo, refused, text};

const SSE: &str = "text/event-stream";

/// A server, a session on it, and a complete call with request id 3.
async fn call() -> (Server, Session, Ask) {
    let server = Server::local(&["--demo=echo"]).await;
    let mut session = Session::open(server.listen).await;
    let call = session.prepare("tools/call", &echo("x"));
    (server, session, call)
}

fn refusal(status: u16, reason: &str) -> Refusal<'_> {
    Refusal(status, Value::Null, -32000, reason)
}

#[tokio::test]
async fn a_reply_in_a_form_the_client_does_not_take() {
    let (_server, mut session, call) = call().await;
    let asks = [
        call.clone().without("accept"),
        call.clone().header("accept", "application/json"),
        call.clone().header("accept", SSE),
        call.clone().header("accept", "text/html, image/*"),
        session.signed(Ask::get("/mcp")),
        session.signed(Ask::get("/mcp").header("accept", "application/json")),
    ];
    for ask in asks {
        eprintln!("{ask:?}");
        refused(
            &session.http.send(&ask).await,
            &refusal(406, "not_acceptable"),
        );
    }
    let any = call.header("accept", "*/*");
    assert_eq!(text(&session.http.send(&any).await), "x");
}

#[tokio::test]
async fn a_body_that_is_not_declared_as_json() {
    let (_server, mut session, call) = call().await;
    for ask in [
        call.clone().without("content-type"),
        call.clone().header("content-type", "text/plain"),
        call.clone()
            .header("content-type", "application/x-www-form-urlencoded"),
    ] {
        let reply = session.http.send(&ask).await;
        refused(&reply, &refusal(415, "unsupported_media_type"));
    }
    let fine = call.header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(text(&session.http.send(&fine).await), "x");
}

#[tokio::test]
async fn a_version_that_does_not_exist() {
    let (_server, mut session, call) = call().await;
    for version in ["1999-01-01", "latest", "2025-11-2"] {
        let ask = call.clone().header("mcp-protocol-version", version);
        let reply = session.http.send(&ask).await;
        let error = refused(
            &reply,
            &Refusal(400, json!(3), -32022, "unsupported_version"),
        );
        assert_eq!(error["data"]["requested"], version);
        assert!(
            error["data"]["supported"]
                .as_array()
                .unwrap()
                .contains(&json!("2025-11-25"))
        );
    }
    for version in ["2025-06-18", "2025-03-26"] {
        let ask = call.clone().header("mcp-protocol-version", version);
        assert_eq!(text(&session.http.send(&ask).await), "x");
    }
    let none = call.without("mcp-protocol-version");
    assert_eq!(text(&session.http.send(&none).await), "x");
}

#[tokio::test]
async fn names_of_other_sites() {
    let (server, mut session, call) = call().await;
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "192.0.2.7",
    ] {
        let mut http = Http::connect(server.listen).await;
        let reply = http.send(&call.clone().header("host", host)).await;
        refused(&reply, &refusal(403, "forbidden_host"));
    }
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "file://",
    ] {
        let mut http = Http::connect(server.listen).await;
        let reply = http.send(&call.clone().header("origin", origin)).await;
        refused(&reply, &refusal(403, "forbidden_origin"));
    }
    for origin in [
        "http://localhost:3000",
        "http://127.0.0.1",
        "http://[::1]:6274",
    ] {
        let reply = session
            .http
            .send(&call.clone().header("origin", origin))
            .await;
        assert_eq!(text(&reply), "x");
    }
}

#[tokio::test]
async fn configured_names_only() {
    let server = Server::local(&[
        "--demo=echo",
        "--allowed-hosts=mcp.example.com",
        "--allowed-origins=https://app.example.com",
    ])
    .await;
    let ask = crate::cluster::mcp::initialize().header("host", "mcp.example.com");
    let mut http = Http::connect(server.listen).await;
    let fine = ask.clone().header("origin", "https://app.example.com");
    assert_eq!(http.send(&fine).await.status, 200);
    let mut http = Http::connect(server.listen).await;
    let other = ask.clone().header("origin", "https://other.example.com");
    refused(&http.send(&other).await, &refusal(403, "forbidden_origin"));
    let mut http = Http::connect(server.listen).await;
    refused(
        &http.send(&ask.header("host", "localhost")).await,
        &refusal(403, "forbidden_host"),
    );
}

#[tokio::test]
async fn two_hosts() {
    let (server, _session, call) = call().await;
    let mut http = Http::connect(server.listen).await;
    let ask = call.also("host", "localhost").also("host", "localhost");
    let expected = Refusal(400, Value::Null, -32600, "invalid_request");
    let error = refused(&http.send(&ask).await, &expected);
    assert!(error["message"].as_str().unwrap().contains("Host"));
}

#[tokio::test]
async fn paths_and_methods_that_are_not_served() {
    let (_server, mut session, call) = call().await;
    for path in ["/", "/mcp/", "/mcp/x", "/sse", "/MCP", "/mcp%2f"] {
        let reply = session.http.send(&call.clone().path(path)).await;
        let error = refused(&reply, &refusal(404, "not_found"));
        assert!(error["message"].as_str().unwrap().contains("/mcp"));
    }
    for method in ["PUT", "PATCH", "OPTIONS", "BREW"] {
        let ask = session.signed(Ask::new(method, "/mcp").body("{}"));
        let reply = session.http.send(&ask).await;
        refused(&reply, &refusal(405, "method_not_allowed"));
        assert_eq!(reply.header("allow"), Some("GET, POST, DELETE"));
    }
    assert_eq!(text(&session.http.send(&call).await), "x");
}
