//! MCP messages as clients write and read them, byte for byte.

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

pub(super) const LEGACY: &str = "2025-11-25";
pub(super) const MODERN: &str = "2026-07-28";
const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";

/// A request of the legacy era; without a session it is `initialize`.
pub(super) fn legacy(session: Option<&str>, id: &str, method: &str, params: &Value) -> Ask {
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    signed(post(), session, Some(&body))
}

/// A notification of the legacy era.
pub(super) fn notification(session: &str, method: &str) -> Ask {
    let body = json!({"jsonrpc": "2.0", "method": method});
    signed(post(), Some(session), Some(&body))
}

/// The end of a session.
pub(super) fn delete(session: &str) -> Ask {
    let request = Request::builder().method(Method::DELETE).uri("/mcp");
    signed(request, Some(session), None)
}

/// A request of the modern era: metadata in the body, and mirrored in the headers.
pub(super) fn modern(id: &str, method: &str, params: &Value) -> Ask {
    let mut params = params.clone();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut request = post().header(VERSION, MODERN).header("mcp-method", method);
    if let Some(name) = params["name"].as_str() {
        request = request.header("mcp-name", name);
    }
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    finished(request, Some(&body))
}

/// The parameters of `initialize`.
pub(super) fn hello() -> Value {
    json!({
        "protocolVersion": LEGACY,
        "capabilities": {},
        "clientInfo": {"name": "sim", "version": "1"},
    })
}

/// A request, ready to be sent.
pub(super) type Ask = Request<Bytes>;

fn post() -> http::request::Builder {
    Request::builder()
        .method(Method::POST)
        .uri("/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
}

fn signed(request: http::request::Builder, session: Option<&str>, body: Option<&Value>) -> Ask {
    let Some(session) = session else {
        return finished(request, body);
    };
    let request = request.header(SESSION, session).header(VERSION, LEGACY);
    finished(request, body)
}

fn finished(request: http::request::Builder, body: Option<&Value>) -> Ask {
    let body = body.map(ToString::to_string).unwrap_or_default();
    request
        .body(Bytes::from(body))
        .expect("its headers are ASCII")
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) session: Option<String>,
    /// In their order; the response is the last.
    pub(super) messages: Vec<Value>,
}

impl Reply {
    pub(super) fn read(head: &http::response::Parts, body: &[u8]) -> Self {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let text = String::from_utf8_lossy(body);
        let is_stream = header("content-type").is_some_and(|kind| kind.starts_with("text/event"));
        let messages = match is_stream {
            true => {
                let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
                data.filter_map(|data| serde_json::from_str(data).ok())
                    .collect()
            }
            false => serde_json::from_str(&text).into_iter().collect(),
        };
        Self {
            status: head.status.as_u16(),
            session: header(SESSION).map(str::to_owned),
            messages,
        }
    }

    /// The response to the request, if there is one.
    pub(super) fn response(&self) -> Option<&Value> {
        let last = self.messages.last()?;
        let answers = last.get("result").is_some() || last.get("error").is_some();
        answers.then_some(last)
    }

    /// The levels of the log messages before it.
    pub(super) fn levels(&self) -> Vec<String> {
        let levels = self.messages.iter().filter_map(|message| {
            let is_log = message["method"] == "notifications/message";
            message["params"]["level"].as_str().filter(|_| is_log)
        });
        levels.map(str::to_owned).collect()
    }
}
