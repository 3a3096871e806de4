//! Small MCP servers that behave well, badly, or not at all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::mcp::MODERN;

/// How a server answers `tools/call`; the handshake and lists are as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers "ok".
    Good,
    /// Answers 200 with what is not JSON.
    NotJson,
    /// Answers 200 with JSON that is no JSON-RPC.
    NotJsonRpc,
    /// Answers with the response to another request.
    WrongId,
    /// Answers HTTP 500 with a page.
    Error500,
    /// Answers what is not HTTP.
    NotHttp,
    /// Closes the connection instead of answering.
    Close,
    /// Closes it in the middle of a JSON answer.
    CloseInJson,
    /// Closes it after a progress event.
    CloseInEvents,
    /// Never answers.
    Silent,
    /// Never answers anything.
    SilentAtFirst,
    /// Closes every connection instead of answering.
    CloseAtFirst,
    /// Answers with a text of so many bytes, as JSON.
    LongJson(usize),
    /// Answers with so many notifications of 64 KiB before the result.
    LongEvents(usize),
    /// Speaks 2026-07-28 and lets everybody keep its lists for a minute; a tool's
    /// name tells how often some such server was asked.
    Lasting,
    /// Answers with a task (2025-11-25), called "t" as at every such server; its
    /// status says this.
    Tasks(&'static str),
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(BufReader::new(stream), behaviour));
            }
        });
        Self { address, task }
    }

    /// `--upstream` for it under this name.
    pub(crate) fn argument(&self, name: &str) -> String {
        format!("--upstream={name}={}", self.url())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a connection until either side has enough.
async fn serve(mut stream: BufReader<TcpStream>, behaviour: Behaviour) {
    while let Some(body) = read(&mut stream).await {
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let hostile = matches!(
            behaviour,
            Behaviour::SilentAtFirst | Behaviour::CloseAtFirst
        );
        let sent = match message["method"].as_str() {
            _ if hostile => misbehave(&mut stream, behaviour, &message["id"]).await,
            Some("tools/call") => misbehave(&mut stream, behaviour, &message["id"]).await,
            _ => stream.write_all(&answer(&message, behaviour)).await.ok(),
        };
        if sent.is_none() {
            return;
        }
    }
}

/// The body of the next request.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

fn answer(message: &Value, behaviour: Behaviour) -> Vec<u8> {
    let method = message["method"].as_str();
    let own = method.and_then(|method| match behaviour {
        Behaviour::Tasks(status) => tasks(status, method, &message["params"]),
        Behaviour::Lasting => lasting(method),
        _ => None,
    });
    let result = match method {
        _ if own.is_some() => own.unwrap_or_default(),
        Some("initialize") if behaviour == Behaviour::Lasting => {
            return http("400 Bad Request", "text/plain", "no such era");
        }
        Some("initialize") => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "fake", "version": "1"},
        }),
        Some("tools/list") => {
            json!({"tools": [{"name": "act", "inputSchema": {"type": "object"}}]})
        }
        Some(_) if message.get("id").is_some() => json!({}),
        Some(_) => return http("202 Accepted", "text/plain", ""),
        // GET and DELETE have no body.
        None => return http("405 Method Not Allowed", "text/plain", ""),
    };
    response(&message["id"], &result)
}

/// What a server with tasks says.
fn tasks(status: &str, method: &str, params: &Value) -> Option<Value> {
    let task = json!({"taskId": "t", "status": "working", "statusMessage": status});
    Some(match method {
        "initialize" => json!({
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}, "tasks": {"list": {}, "cancel": {}}},
            "serverInfo": {"name": "fake", "version": "1"},
        }),
        "tasks/list" => json!({"tasks": [task]}),
        "tasks/get" | "tasks/cancel" if params["taskId"] == "t" => task,
        "tasks/result" if params["taskId"] == "t" => {
            let meta = json!({"io.modelcontextprotocol/related-task": {"taskId": "t"}});
            json!({"content": said(status)["content"], "_meta": meta})
        }
        _ => return None,
    })
}

/// What a server says whose lists hold for a minute.
fn lasting(method: &str) -> Option<Value> {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    Some(match method {
        "server/discover" => json!({
            "resultType": "complete",
            "supportedVersions": [MODERN],
            "capabilities": {"tools": {}},
            "ttlMs": 0,
            "cacheScope": "public",
        }),
        "tools/list" => {
            let name = format!("act{}", ASKED.fetch_add(1, Ordering::Relaxed));
            let tools = [json!({"name": name, "inputSchema": {"type": "object"}})];
            json!({"resultType": "complete", "tools": tools, "ttlMs": 60_000, "cacheScope": "public"})
        }
        _ => return None,
    })
}

fn response(id: &Value, result: &Value) -> Vec<u8> {
    let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
    http("200 OK", "application/json", &message.to_string())
}

fn said(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn http(status: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

const EVENTS: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn event(message: &Value) -> Vec<u8> {
    format!("event: message\ndata: {message}\n\n").into_bytes()
}

fn notification(text: &str) -> Vec<u8> {
    let params = json!({"level": "info", "data": text});
    event(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}))
}

/// Answers a call; `None` when the connection is to be closed.
async fn misbehave(stream: &mut BufReader<TcpStream>, how: Behaviour, id: &Value) -> Option<()> {
    let plain = |body: &str| http("200 OK", "application/json", body);
    let bytes = match how {
        Behaviour::Good | Behaviour::Lasting => response(id, &said("ok")),
        Behaviour::Tasks(_) => response(id, &json!({"task": {"taskId": "t", "status": "working"}})),
        Behaviour::NotJson => plain("<html>not JSON</html>"),
        Behaviour::NotJsonRpc => plain(r#"{"hello":"world"}"#),
        Behaviour::WrongId => response(&json!("another"), &said("ok")),
        Behaviour::Error500 => http("500 Internal Server Error", "text/html", "<h1>sorry</h1>"),
        Behaviour::LongJson(size) => response(id, &said(&"x".repeat(size))),
        Behaviour::Silent | Behaviour::SilentAtFirst => std::future::pending().await,
        Behaviour::Close | Behaviour::CloseAtFirst => return None,
        Behaviour::NotHttp => b"220 smtp.example ESMTP\r\n".to_vec(),
        Behaviour::CloseInJson => response(id, &said(&"x".repeat(1000)))[..600].to_vec(),
        Behaviour::CloseInEvents => [EVENTS, &notification("soon")].concat(),
        Behaviour::LongEvents(count) => {
            stream.write_all(EVENTS).await.ok()?;
            for _ in 0..count {
                stream
                    .write_all(&notification(&"x".repeat(64 << 10)))
                    .await
                    .ok()?;
            }
            event(&json!({"jsonrpc": "2.0", "id": id, "result": said("ok")}))
        }
    };
    stream.write_all(&bytes).await.ok()?;
    stream.flush().await.ok()?;
    let goes_on = !matches!(
        how,
        Behaviour::NotHttp
            | Behaviour::CloseInJson
            | Behaviour::CloseInEvents
            | Behaviour::LongEvents(_)
    );
    goes_on.then_some(())
}
