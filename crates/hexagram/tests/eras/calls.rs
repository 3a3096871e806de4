//! Calls, what is said while they run, their end, and their errors.

use serde_json::{Value, json};

use crate::cell::{Cell, Client, Era};
use crate::cluster::http::Http;
use crate::cluster::mcp::{result, text};

pub(crate) async fn tool_call(cell: &Cell<'_>) {
    let mut client = cell.client().await;
    let tools = result(&client.ask("tools/list", &json!({})).await);
    assert!(
        tools["tools"]
            .as_array()
            .is_some_and(|tools| tools.len() == 5)
    );
    let reply = client.call("echo").await;
    assert_eq!(text(&reply), "Echo: hello");
    // What the era has, and nothing of the other.
    for (answer, cacheable) in [(tools, true), (result(&reply), false)] {
        let is_modern = cell.era == Era::Modern;
        assert_eq!(answer["resultType"] == "complete", is_modern, "{answer}");
        let hint = answer.get("cacheScope");
        assert_eq!(hint.is_some(), is_modern && cacheable, "{answer}");
    }
}

pub(crate) async fn progress(cell: &Cell<'_>) {
    let token = json!("my token");
    let params = json!({"name": "progress", "arguments": {}, "_meta": {"progressToken": token}});
    let reply = cell.client().await.ask("tools/call", &params).await;
    assert_eq!(text(&reply), "done");
    let heard: Vec<_> = said(&reply.messages(), "notifications/progress");
    let steps: Vec<_> = heard.iter().map(|params| &params["progress"]).collect();
    assert_eq!(steps, [&json!(1.0), &json!(2.0)], "{reply:?}");
    assert!(heard.iter().all(|params| params["progressToken"] == token));
}

pub(crate) async fn log_message(cell: &Cell<'_>) {
    let mut client = cell.client().await;
    let said = match cell.era {
        Era::Legacy => legacy_log(&mut client).await,
        Era::Modern if cell.is_across() => return log_level(cell, &mut client).await,
        Era::Modern => modern_log(&mut client).await,
    };
    assert_eq!(said["data"], "noted");
}

/// A legacy server says it on the call's stream or on the session's, where it
/// is lost while nobody listens.
async fn legacy_log(client: &mut Client) -> Value {
    let level = json!({"level": "info"});
    result(&client.ask("logging/setLevel", &level).await);
    let mut standing = client.listen("test://other").await;
    let call = async {
        loop {
            let reply = client.call("log").await;
            assert_eq!(text(&reply), "done");
            if let [params] = &said(&reply.messages(), "notifications/message")[..] {
                return params.clone();
            }
        }
    };
    tokio::select! {
        said = call => said,
        event = standing.message() => event.message()["params"].clone(),
    }
}

/// rmcp's legacy servers log on the session's stream, which tells nobody what
/// call it is about: a modern client cannot hear it, but the level is set.
async fn log_level(cell: &Cell<'_>, client: &mut Client) {
    let meta = json!({"io.modelcontextprotocol/logLevel": "critical"});
    let params = json!({"name": "log", "arguments": {}, "_meta": meta});
    assert_eq!(text(&client.ask("tools/call", &params).await), "done");
    assert_eq!(cell.fixture.count("level \"critical\""), 1);
}

/// A modern server says it on the call's stream, to those who ask for it there.
async fn modern_log(client: &mut Client) -> Value {
    let mut params = json!({"name": "log", "arguments": {}});
    let silent = client.ask("tools/call", &params).await;
    assert_eq!(silent.messages().len(), 1, "not asked for: {silent:?}");
    params["_meta"] = json!({"io.modelcontextprotocol/logLevel": "info"});
    let reply = client.ask("tools/call", &params).await;
    let said = said(&reply.messages(), "notifications/message");
    assert_eq!(said.len(), 1, "{reply:?}");
    said[0].clone()
}

/// The parameters of the notifications of one kind.
fn said(messages: &[Value], method: &str) -> Vec<Value> {
    let of_kind = messages.iter().filter(|said| said["method"] == method);
    of_kind.map(|said| said["params"].clone()).collect()
}

/// A legacy client says so, a modern one leaves.
pub(crate) async fn cancel(cell: &Cell<'_>) {
    let (begun, ended) = (
        cell.fixture.count("hang") + 1,
        cell.fixture.count("hang cancelled") + 1,
    );
    let mut client = cell.client().await;
    let (ask, id) = client.prepare("tools/call", &json!({"name": "hang", "arguments": {}}));
    let mut connection = Http::connect(client.edge()).await;
    connection.start(&ask).await;
    cell.fixture.has_seen("hang", begun).await;
    match cell.era {
        Era::Legacy => {
            let params = json!({"requestId": id, "reason": "enough"});
            let message =
                json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
            client.tell(&message).await;
        }
        Era::Modern => drop(connection),
    }
    cell.fixture.has_seen("hang cancelled", ended).await;
    assert_eq!(text(&client.call("echo").await), "Echo: hello");
}

pub(crate) async fn unknown_tool(cell: &Cell<'_>) {
    let reply = cell.client().await.call("nonsense").await;
    assert_eq!(reply.response()["error"]["code"], -32602, "{reply:?}");
}

pub(crate) async fn missing_resource(cell: &Cell<'_>) {
    let mut client = cell.client().await;
    let there = json!({"uri": "test://watched"});
    let there = result(&client.ask("resources/read", &there).await);
    assert_eq!(there["contents"][0]["text"], "it");
    let missing = json!({"uri": "test://missing"});
    let reply = client.ask("resources/read", &missing).await;
    let error = &reply.response()["error"];
    let code = match cell.era {
        Era::Legacy => -32002,
        Era::Modern => -32602,
    };
    assert_eq!(error["code"], code, "{reply:?}");
    assert_eq!(error["data"]["uri"], "test://missing", "{reply:?}");
}
