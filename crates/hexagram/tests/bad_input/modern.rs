//! Requests of 2026-07-28 whose metadata is missing, wrong or contradicts itself.

use serde_json::{Value, json};

use crate::cluster::Server;
use crate::cluster::http::{Ask, Http};
use crate::cluster::mcp::{MODERN, Refusal, echo, modern, refused, request, text};

async fn server() -> (Server, Http) {
    let server = Server::local(&["--demo=echo"]).await;
    let http = Http::connect(server.listen).await;
    (server, http)
}

/// A modern `tools/call` as request 5, its body changed.
fn changed(change: impl FnOnce(&mut Value)) -> Ask {
    let mut params = echo("x");
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    change(&mut params);
    modern(5, "tools/call", &echo("x")).body(request(5, "tools/call", &params))
}

#[tokio::test]
async fn headers_that_contradict_the_body() {
    let (_server, mut http) = server().await;
    let call = modern(5, "tools/call", &echo("x"));
    let asks = [
        call.clone().header("mcp-method", "tools/list"),
        call.clone().without("mcp-method"),
        call.clone().header("mcp-name", "other"),
        call.clone().without("mcp-name"),
        call.clone().header("mcp-name", "=?base64?bm90IGVjaG8=?="),
        call.clone().header("mcp-name", "=?base64?!?="),
        call.clone().header("mcp-name", "=?base64?ZWNobw?="),
        call.clone().header("mcp-name", "=?base64?/w==?="),
        call.clone().header("mcp-name", "=?base64??="),
        call.clone().header("mcp-name", "=?BASE64?ZWNobw==?="),
        call.clone().header("mcp-name", "ech\u{f6}"),
        call.clone().header("mcp-method", "Tools/Call"),
        // The method is ASCII in every revision: its header knows no other form.
        call.clone()
            .header("mcp-method", "=?base64?dG9vbHMvY2FsbA==?="),
        call.clone().also("mcp-name", "echo"),
        call.clone().also("mcp-protocol-version", MODERN),
        call.clone().header("mcp-protocol-version", "2025-11-25"),
        call.clone().without("mcp-protocol-version"),
        call.clone().also("mcp-method", "tools/call"),
    ];
    for ask in asks {
        eprintln!("{ask:?}");
        let mismatch = Refusal(400, json!(5), -32020, "header_mismatch");
        refused(&http.send(&ask).await, &mismatch);
    }
    let encoded = call.header("mcp-name", "=?base64?ZWNobw==?=");
    assert_eq!(text(&http.send(&encoded).await), "x");
}

#[tokio::test]
async fn metadata_that_is_missing() {
    let (_server, mut http) = server().await;
    let asks = [
        changed(|params| drop(params.as_object_mut().unwrap().remove("_meta"))),
        changed(|params| params["_meta"] = json!({})),
        changed(|params| {
            params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": MODERN});
        }),
        changed(|params| params["_meta"] = json!(null)),
        changed(|params| params["_meta"] = json!([])),
        changed(|params| params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(7)),
        changed(|params| params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!([])),
    ];
    for ask in asks {
        let reply = http.send(&ask).await;
        let error = refused(&reply, &Refusal(400, json!(5), -32602, "invalid_params"));
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("io.modelcontextprotocol/")
        );
    }
}

#[tokio::test]
async fn handles_that_are_no_strings() {
    let (_server, mut http) = server().await;
    for wrong in [json!(7), json!(null), json!({}), json!([""])] {
        let state = changed(|params| params["requestState"] = wrong.clone());
        let mut params = json!({"taskId": wrong});
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let task = modern(5, "tasks/get", &json!({})).body(request(5, "tasks/get", &params));
        for (ask, member) in [(state, "params.requestState"), (task, "params.taskId")] {
            let expected = Refusal(400, json!(5), -32602, "invalid_params");
            let error = refused(&http.send(&ask).await, &expected);
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(member), "{message}");
        }
    }
}

#[tokio::test]
async fn a_name_that_is_nowhere() {
    let (_server, mut http) = server().await;
    for method in ["tools/call", "prompts/get", "resources/read", "tasks/get"] {
        let ask = modern(5, method, &json!({})).without("mcp-name");
        let expected = Refusal(400, json!(5), -32020, "header_mismatch");
        refused(&http.send(&ask).await, &expected);
    }
}

#[tokio::test]
async fn a_version_that_is_not_served() {
    let (_server, mut http) = server().await;
    let future = "2030-01-01";
    let ask = changed(|params| {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(future);
    });
    let reply = http.send(&ask.header("mcp-protocol-version", future)).await;
    let error = refused(
        &reply,
        &Refusal(400, json!(5), -32022, "unsupported_version"),
    );
    assert_eq!(error["data"]["requested"], future);
    let supported = error["data"]["supported"].as_array().unwrap();
    assert!(supported.contains(&json!(MODERN)), "{supported:?}");
}

/// A version on one side alone decides too, and each must be one we know.
#[tokio::test]
async fn a_version_that_is_not_served_on_one_side() {
    let (_server, mut http) = server().await;
    let future = "2030-01-01";
    let in_meta = changed(|params| {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(future);
    });
    let in_meta = in_meta.without("mcp-protocol-version");
    let in_header = changed(|params| params["_meta"] = json!({}));
    let in_header = in_header.header("mcp-protocol-version", future);
    for ask in [in_meta, in_header] {
        let expected = Refusal(400, json!(5), -32022, "unsupported_version");
        refused(&http.send(&ask).await, &expected);
    }
    let contradicting = changed(|params| {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2025-11-25");
    });
    let expected = Refusal(400, json!(5), -32020, "header_mismatch");
    refused(&http.send(&contradicting).await, &expected);
}

#[tokio::test]
async fn methods_of_the_other_era() {
    let (_server, mut http) = server().await;
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "roots/list",
        "sampling/createMessage",
        "elicitation/create",
        "tasks/result",
        "tasks/list",
        "no/such",
    ] {
        let reply = http.send(&modern(5, method, &json!({}))).await;
        refused(&reply, &Refusal(404, json!(5), -32601, "method_not_found"));
    }
}

#[tokio::test]
async fn a_response_from_a_modern_client() {
    let (_server, mut http) = server().await;
    for body in [
        r#"{"jsonrpc":"2.0","id":5,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":5,"error":{"code":1,"message":"no"}}"#,
    ] {
        let ask = Ask::post(body).header("mcp-protocol-version", MODERN);
        // An error reply never carries the id of a response.
        let expected = Refusal(400, Value::Null, -32600, "invalid_request");
        refused(&http.send(&ask).await, &expected);
    }
}

#[tokio::test]
async fn a_batch_from_a_modern_client() {
    let (_server, mut http) = server().await;
    let list = request(5, "tools/list", &json!({}));
    let ask = Ask::post(format!("[{list}]")).header("mcp-protocol-version", MODERN);
    let expected = Refusal(400, Value::Null, -32600, "invalid_request");
    refused(&http.send(&ask).await, &expected);
}

#[tokio::test]
async fn there_are_no_sessions_and_no_streams() {
    let (_server, mut http) = server().await;
    for method in ["GET", "DELETE"] {
        let ask = Ask::new(method, "/mcp")
            .header("accept", "text/event-stream")
            .header("mcp-protocol-version", MODERN);
        let reply = http.send(&ask).await;
        refused(
            &reply,
            &Refusal(405, Value::Null, -32000, "method_not_allowed"),
        );
        assert_eq!(reply.header("allow"), Some("POST"));
    }
    // A session id is ignored, never checked or echoed.
    let call = modern(5, "tools/call", &echo("x")).header("mcp-session-id", "whatever");
    let reply = http.send(&call).await;
    assert_eq!(text(&reply), "x");
    assert_eq!(reply.header("mcp-session-id"), None);
}
