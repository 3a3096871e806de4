//! An upstream that counts the calls of each of its sessions, and speaks on its
//! standing streams when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// What is said and not written yet.
const QUEUE: usize = 16;

/// The server; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Counter {
    address: SocketAddr,
    task: JoinHandle<()>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Calls of each session.
    calls: Mutex<BTreeMap<String, u64>>,
    /// Calls that have a number, and when each ran.
    runs: Mutex<Vec<(u64, Instant)>>,
    said: broadcast::Sender<Value>,
}

/// A request.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) verb: String,
    session: String,
    pub(crate) body: Value,
}

impl Counter {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            calls: Mutex::default(),
            runs: Mutex::default(),
            said: broadcast::channel(QUEUE).0,
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(BufReader::new(stream), Arc::clone(&shared)));
            }
        });
        Self {
            address,
            task,
            state,
        }
    }

    /// `--upstream` for it.
    pub(crate) fn argument(&self) -> String {
        format!("--upstream=counter=http://{}/mcp", self.address)
    }

    /// The calls that have a number and ran, in their order.
    pub(crate) fn runs(&self) -> Vec<(u64, Instant)> {
        self.state.runs.lock().clone()
    }

    /// Sends a notification on every standing stream.
    pub(crate) fn say(&self, method: &str, params: &Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        // Without a stream nobody hears it.
        let _ = self.state.said.send(message);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    /// A session that has not called.
    fn opened(&self) -> String {
        let mut calls = self.calls.lock();
        let name = format!("up-{}", calls.len());
        calls.insert(name.clone(), 0);
        name
    }

    /// Counts a call; `None` in a session that is unknown.
    fn called(&self, session: &str, number: Option<u64>) -> Option<u64> {
        let mut calls = self.calls.lock();
        let count = calls.get_mut(session)?;
        *count += 1;
        let run = number.map(|number| (number, Instant::now()));
        self.runs.lock().extend(run);
        Some(*count)
    }
}

/// Serves a connection until either side has enough.
async fn serve(mut stream: BufReader<TcpStream>, state: Arc<State>) -> Option<()> {
    loop {
        let asked = read(&mut stream).await?;
        if asked.verb == "GET" {
            return speak(stream, state.said.subscribe()).await;
        }
        let reply = answer(&asked, &state);
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
}

/// A standing stream.
async fn speak(
    mut stream: BufReader<TcpStream>,
    mut said: broadcast::Receiver<Value>,
) -> Option<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    loop {
        let message = said.recv().await.ok()?;
        let event = format!("data: {message}\n\n");
        stream.write_all(event.as_bytes()).await.ok()?;
    }
}

pub(crate) async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let (mut asked, mut length) = (Asked::default(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some((name, value)) if name.eq_ignore_ascii_case("mcp-session-id") => {
                value.clone_into(&mut asked.session);
            }
            None | Some(_) if asked.verb.is_empty() => {
                asked.verb = line.split(' ').next()?.to_owned();
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    asked.body = serde_json::from_slice(&body).unwrap_or_default();
    Some(asked)
}

fn answer(asked: &Asked, state: &State) -> String {
    let body = &asked.body;
    match body["method"].as_str() {
        Some("initialize") => {
            let result = json!({
                "protocolVersion": body["params"]["protocolVersion"],
                "capabilities": {"tools": {"listChanged": true}, "logging": {}},
                "serverInfo": {"name": "counter", "version": "1"},
            });
            response(&state.opened(), body, &result)
        }
        Some("tools/list") => {
            let tools = json!([{"name": "count", "inputSchema": {"type": "object"}}]);
            response(&asked.session, body, &json!({ "tools": tools }))
        }
        Some("tools/call") => match state.called(&asked.session, number(body)) {
            Some(count) => {
                let text = format!("{} {count}", asked.session);
                let result = json!({"content": [{"type": "text", "text": text}]});
                response(&asked.session, body, &result)
            }
            None => bare("404 Not Found"),
        },
        Some(_) if body.get("id").is_some() => response(&asked.session, body, &json!({})),
        Some(_) => bare("202 Accepted"),
        None => bare("200 OK"),
    }
}

/// The number that a call has from its client.
fn number(body: &Value) -> Option<u64> {
    body["params"]["arguments"]["id"].as_u64()
}

pub(crate) fn response(session: &str, body: &Value, result: &Value) -> String {
    let message = json!({"jsonrpc": "2.0", "id": body["id"], "result": result}).to_string();
    let length = message.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nmcp-session-id: {session}\r\n\
         content-length: {length}\r\n\r\n{message}"
    )
}

pub(crate) fn bare(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
}
