//! An upstream that does what the test says, when the test says it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::wait;

/// Requests that wait for the test to look at them.
const QUEUE: usize = 16;

/// What came with a request for a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// Id of the call; null on a GET.
    pub(crate) id: Value,
    pub(crate) last_event_id: Option<String>,
    is_get: bool,
    is_delete: bool,
    length: usize,
}

/// A stream of the upstream: a call's or a standing one.
#[derive(Debug)]
pub(crate) struct Line {
    stream: BufReader<TcpStream>,
    pub(crate) asked: Asked,
}

/// The server; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Puppet {
    address: SocketAddr,
    task: JoinHandle<()>,
    calls: mpsc::Receiver<Line>,
    standing: mpsc::Receiver<Line>,
    ended: mpsc::Receiver<()>,
}

impl Puppet {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to_calls, calls) = mpsc::channel(QUEUE);
        let (to_standing, standing) = mpsc::channel(QUEUE);
        let (to_ended, ended) = mpsc::channel(QUEUE);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (calls, standing) = (to_calls.clone(), to_standing.clone());
                let ended = to_ended.clone();
                tokio::spawn(async move {
                    if let Some(line) = serve(BufReader::new(stream), &ended).await {
                        let to = if line.asked.is_get { standing } else { calls };
                        let _ = to.send(line).await;
                    }
                });
            }
        });
        Self {
            address,
            task,
            calls,
            standing,
            ended,
        }
    }

    pub(crate) fn argument(&self, name: &str) -> String {
        format!("--upstream={name}={}", self.url())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Waits for the next session that is ended. The first is that of
    /// Hexagram's own question what the server is.
    pub(crate) async fn ended(&mut self) {
        let ended = wait::within("a DELETE at the upstream", self.ended.recv()).await;
        ended.unwrap();
    }

    /// The next call that came; its stream is open.
    pub(crate) async fn call(&mut self) -> Line {
        let line = wait::within("a call at the upstream", self.calls.recv()).await;
        line.unwrap().opened().await
    }

    /// The next GET that came; its stream is open.
    pub(crate) async fn listener(&mut self) -> Line {
        self.get().await.opened().await
    }

    /// The next GET that came, to be answered.
    pub(crate) async fn get(&mut self) -> Line {
        let line = wait::within("a GET at the upstream", self.standing.recv()).await;
        line.unwrap()
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Line {
    async fn opened(mut self) -> Self {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        self.write(head).await;
        self
    }

    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Value) {
        self.write(&format!("data: {message}\n\n")).await;
    }

    /// Says something in a notification.
    pub(crate) async fn say(&mut self, text: &str) {
        self.send(&notification(text)).await;
    }

    /// Answers the call with this text.
    pub(crate) async fn answer(&mut self, text: &str) {
        let id = self.asked.id.clone();
        self.send(&answer(&id, text)).await;
    }
}

/// A tool's result.
pub(crate) fn answer(id: &Value, text: &str) -> Value {
    let result = json!({"content": [{"type": "text", "text": text}]});
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

pub(crate) fn notification(text: &str) -> Value {
    let params = json!({"level": "info", "data": text});
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
}

/// Answers everything until a call or a GET comes.
async fn serve(mut stream: BufReader<TcpStream>, ended: &mpsc::Sender<()>) -> Option<Line> {
    loop {
        let mut asked = head(&mut stream).await?;
        if asked.is_get {
            return Some(Line { stream, asked });
        }
        if asked.is_delete {
            ended.send(()).await.ok()?;
        }
        let mut body = vec![0; asked.length];
        stream.read_exact(&mut body).await.ok()?;
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        asked.id = message["id"].clone();
        let reply = match message["method"].as_str() {
            Some("tools/call") => return Some(Line { stream, asked }),
            Some("initialize") => handshake(&message),
            Some(_) if !asked.id.is_null() => {
                plain(&json!({"jsonrpc": "2.0", "id": asked.id, "result": {}}))
            }
            _ => "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
}

async fn head(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut asked = Asked::default();
    let mut first = true;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if std::mem::take(&mut first) {
            asked.is_get = line.starts_with("GET ");
            asked.is_delete = line.starts_with("DELETE ");
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                asked.length = value.parse().ok()?;
            }
            Some((name, value)) if name.eq_ignore_ascii_case("last-event-id") => {
                asked.last_event_id = Some(value.to_owned());
            }
            None if line == "\r\n" => return Some(asked),
            _ => {}
        }
    }
}

fn handshake(message: &Value) -> String {
    let result = json!({
        "protocolVersion": message["params"]["protocolVersion"],
        "capabilities": {"tools": {}, "logging": {}},
        "serverInfo": {"name": "puppet", "version": "1"},
    });
    plain(&json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
}

fn plain(message: &Value) -> String {
    let body = message.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nmcp-session-id: up\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}
