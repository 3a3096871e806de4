//! MCP messages, sessions over raw HTTP, and what a refusal must look like.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::http::{Ask, Http, Reply};
use super::wait;

pub(crate) const LEGACY: &str = "2025-11-25";
pub(crate) const MODERN: &str = "2026-07-28";

/// A request's text.
pub(crate) fn request(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

/// `initialize`, as request 1.
pub(crate) fn initialize() -> Ask {
    initialize_as(LEGACY)
}

fn initialize_as(version: &str) -> Ask {
    initialize_able(version, &json!({}))
}

fn initialize_able(version: &str, capabilities: &Value) -> Ask {
    let client = json!({"name": "raw", "version": "1"});
    let params =
        json!({"protocolVersion": version, "capabilities": capabilities, "clientInfo": client});
    Ask::post(request(1, "initialize", &params))
}

/// The parameters of a call.
pub(crate) fn call(tool: &str, arguments: &Value) -> Value {
    json!({"name": tool, "arguments": arguments})
}

/// The parameters of a call of `echo`.
pub(crate) fn echo(message: &str) -> Value {
    call("echo", &json!({ "message": message }))
}

/// A complete modern request: metadata in the body, beside what `params` has
/// there, and mirrored in the headers.
pub(crate) fn modern(id: u64, method: &str, params: &Value) -> Ask {
    let mut params = params.clone();
    let meta = &mut params["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = json!(MODERN);
    let capabilities = &mut meta["io.modelcontextprotocol/clientCapabilities"];
    if capabilities.is_null() {
        *capabilities = json!({});
    }
    let name = params["name"].as_str().or(params["uri"].as_str());
    let ask = Ask::post(request(id, method, &params))
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", method);
    match name {
        Some(name) => ask.header("mcp-name", name),
        None => ask,
    }
}

/// A refusal: HTTP status, the request's id, JSON-RPC code and `data.reason`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal<'a>(
    pub(crate) u16,
    pub(crate) Value,
    pub(crate) i64,
    pub(crate) &'a str,
);

/// Checks that the reply is exactly this refusal; gives its error object.
#[track_caller]
pub(crate) fn refused(reply: &Reply, expected: &Refusal<'_>) -> Value {
    let response = reply.response();
    let error = &response["error"];
    let actual = Refusal(
        reply.status,
        response["id"].clone(),
        error["code"].as_i64().unwrap_or_default(),
        error["data"]["reason"].as_str().unwrap_or_default(),
    );
    assert_eq!(actual, *expected, "{reply:?}");
    assert_eq!(response["jsonrpc"], "2.0", "{reply:?}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{reply:?}"
    );
    error.clone()
}

/// The result of a successful reply.
#[track_caller]
pub(crate) fn result(reply: &Reply) -> Value {
    let response = reply.response();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(response.get("result").is_some(), "{reply:?}");
    response["result"].clone()
}

/// The text that a tool answered.
#[track_caller]
pub(crate) fn text(reply: &Reply) -> String {
    let result = result(reply);
    let text = result["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text in {result}"))
        .to_owned()
}

/// A legacy session of a client that sends these headers with everything.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) http: Http,
    pub(crate) id: String,
    version: String,
    headers: Vec<(String, String)>,
    next: u64,
}

impl Session {
    pub(crate) async fn open(peer: SocketAddr) -> Self {
        Self::open_as(peer, &[]).await
    }

    pub(crate) async fn open_as(peer: SocketAddr, headers: &[(&str, &str)]) -> Self {
        Self::start(peer, &initialize_as(LEGACY), LEGACY, headers).await
    }

    /// A session of a client with these capabilities.
    pub(crate) async fn open_able(peer: SocketAddr, capabilities: &Value) -> Self {
        let ask = initialize_able(LEGACY, capabilities);
        Self::start(peer, &ask, LEGACY, &[]).await
    }

    /// A session of a client of this revision.
    pub(crate) async fn open_version(peer: SocketAddr, version: &str) -> Self {
        Self::start(peer, &initialize_as(version), version, &[]).await
    }

    async fn start(
        peer: SocketAddr,
        initialize: &Ask,
        version: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let mut http = Http::connect(peer).await;
        let ask = headers
            .iter()
            .fold(initialize.clone(), |ask, (name, value)| {
                ask.header(name, value)
            });
        let reply = http.send(&ask).await;
        let id = reply.header("mcp-session-id").map(str::to_owned);
        assert_eq!(result(&reply)["protocolVersion"], version);
        let headers = headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Self {
            http,
            id: id.unwrap_or_else(|| panic!("no session id in {reply:?}")),
            version: version.to_owned(),
            headers: headers.collect(),
            next: 2,
        }
    }

    /// `ask` as a part of this session.
    pub(crate) fn signed(&self, ask: Ask) -> Ask {
        let ask = ask
            .header("mcp-session-id", &self.id)
            .header("mcp-protocol-version", &self.version);
        let headers = self.headers.iter();
        headers.fold(ask, |ask, (name, value)| ask.header(name, value))
    }

    /// A request of this session, with an id of its own.
    pub(crate) fn prepare(&mut self, method: &str, params: &Value) -> Ask {
        self.next += 1;
        self.signed(Ask::post(request(self.next, method, params)))
    }

    pub(crate) async fn ask(&mut self, method: &str, params: &Value) -> Reply {
        let ask = self.prepare(method, params);
        self.http.send(&ask).await
    }

    pub(crate) async fn call(&mut self, tool: &str, arguments: &Value) -> Reply {
        self.ask("tools/call", &call(tool, arguments)).await
    }

    /// The id of the last request.
    pub(crate) fn last(&self) -> Value {
        json!(self.next)
    }

    pub(crate) async fn delete(&mut self) -> Reply {
        let ask = self.signed(Ask::new("DELETE", "/mcp"));
        self.http.send(&ask).await
    }

    /// Goes on over another connection, perhaps to another edge.
    pub(crate) async fn reconnect(&mut self, peer: SocketAddr) {
        self.http = Http::connect(peer).await;
    }

    /// Reads the reply to the request that was started.
    pub(crate) async fn reply(&mut self) -> Reply {
        wait::within("the reply", self.http.reply()).await.unwrap()
    }
}
