//! Bodies that are no message: each is refused by name, and the connection
//! goes on.

use serde_json::{Value, json};

use crate::cluster::Server;
use crate::cluster::http::{Ask, Http};
use crate::cluster::mcp::{Refusal, Session, echo, refused, result, text};

async fn echo_server() -> Server {
    Server::local(&["--demo=echo"]).await
}

/// Sends each body twice, bare and inside a session, and expects the refusal.
async fn all_refused(bodies: &[&[u8]], expected: &Refusal<'_>) {
    let server = echo_server().await;
    let mut session = Session::open(server.listen).await;
    let mut http = Http::connect(server.listen).await;
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        eprintln!("{shown}");
        refused(&http.send(&Ask::post(*body)).await, expected);
        let signed = session.signed(Ask::post(*body));
        refused(&session.http.send(&signed).await, expected);
    }
    let reply = session
        .call("echo", &json!({"message": "still here"}))
        .await;
    assert_eq!(text(&reply), "still here");
}

#[tokio::test]
async fn what_is_not_json() {
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let bodies: [&[u8]; 8] = [
        b"",
        b"{",
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list""#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"} x"#,
        b"not json",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}",
        b"\xef\xbb\xbf{}",
        deep.as_bytes(),
    ];
    all_refused(&bodies, &Refusal(400, Value::Null, -32700, "parse_error")).await;
}

#[tokio::test]
async fn what_is_no_single_json_rpc_message() {
    let bodies: [&[u8]; 8] = [
        b"42",
        b"null",
        br#""text""#,
        b"[]",
        br#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#,
        br#"{"hello":"world"}"#,
        br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}"#,
        br#"{"jsonrpc":"2.0","id":{},"method":"tools/list"}"#,
    ];
    let expected = Refusal(400, Value::Null, -32600, "invalid_request");
    all_refused(&bodies, &expected).await;
}

#[tokio::test]
async fn a_broken_request_is_answered_under_its_id() {
    let bodies: [&[u8]; 4] = [
        br#"{"jsonrpc":"1.0","id":7,"method":"tools/list"}"#,
        br#"{"id":7,"method":"tools/list"}"#,
        br#"{"jsonrpc":"2.0","id":7,"method":"tools/list","method":"ping"}"#,
        br#"{"jsonrpc":"2.0","id":7,"method":5}"#,
    ];
    let expected = Refusal(400, json!(7), -32600, "invalid_request");
    all_refused(&bodies, &expected).await;
}

#[tokio::test]
async fn odd_ids_come_back_as_they_are() {
    let server = echo_server().await;
    let mut session = Session::open(server.listen).await;
    let long = "i".repeat(500_000);
    let ids = [
        json!(long),
        json!(""),
        json!(i64::MAX),
        json!(-1),
        json!("é\n\"\\"),
    ];
    for id in ids {
        let message =
            json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": echo("x")});
        let ask = session.signed(Ask::post(message.to_string()));
        let reply = session.http.send(&ask).await;
        assert_eq!(text(&reply), "x");
        assert_eq!(reply.response()["id"], id);
    }
}

#[tokio::test]
async fn methods_and_parameters_that_do_not_exist() {
    let server = echo_server().await;
    let mut session = Session::open(server.listen).await;
    // To a legacy client any other status is a broken transport.
    let reply = session.ask("no/such/method", &json!({})).await;
    let unknown = Refusal(200, session.last(), -32601, "method_not_found");
    refused(&reply, &unknown);
    for params in [
        json!({}),
        json!({"name": "echo"}),
        json!({"name": "nothing", "arguments": {"message": ""}}),
    ] {
        let reply = session.ask("tools/call", &params).await;
        let invalid = Refusal(200, session.last(), -32602, "invalid_params");
        refused(&reply, &invalid);
    }
    let reply = session.ask("ping", &json!({})).await;
    assert_eq!(result(&reply), json!({}));
}

#[tokio::test]
async fn initialize_without_what_it_needs() {
    let server = echo_server().await;
    let mut http = Http::connect(server.listen).await;
    for params in ["{}", r#"{"protocolVersion":5}"#] {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":"i","method":"initialize","params":{params}}}"#);
        let reply = http.send(&Ask::post(body)).await;
        let error = reply.response();
        assert_eq!(error["error"]["code"], -32602, "{params}: {reply:?}");
        assert_eq!(error["id"], "i");
        assert_eq!(reply.header("mcp-session-id"), None);
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_costs_nobody_anything() {
    let server = echo_server().await;
    let mut session = Session::open(server.listen).await;
    let whole = session
        .prepare("tools/call", &echo("x"))
        .bytes(server.listen);
    for cut in [10, 40, whole.len() / 2, whole.len() - 1] {
        let mut http = Http::connect(server.listen).await;
        http.write(&whole[..cut]).await.unwrap();
    }
    let mut http = Http::connect(server.listen).await;
    http.write(b"\x16\x03\x01\x02\x00 not HTTP at all\r\n\r\n")
        .await
        .unwrap();
    http.closed().await;
    assert_eq!(
        text(&session.call("echo", &json!({"message": "y"})).await),
        "y"
    );
}
