//! An upstream that keeps its callers waiting until it is told to answer, and
//! remembers how often each call ran.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::counter::{Asked, bare, read, response};

/// Its tools: two declare that they may run twice.
pub(crate) const TOOLS: [&str; 3] = ["read", "same", "act"];

/// The server; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    address: SocketAddr,
    task: JoinHandle<()>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// How often each call ran, by its tool and its argument.
    runs: Mutex<BTreeMap<(String, u64), u64>>,
    released: watch::Sender<bool>,
}

impl Held {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            runs: Mutex::default(),
            released: watch::Sender::new(false),
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
        format!("--upstream=held=http://{}/mcp", self.address)
    }

    /// How often each call ran.
    pub(crate) fn runs(&self) -> BTreeMap<(String, u64), u64> {
        self.state.runs.lock().clone()
    }

    /// Answers those who wait, and all others at once.
    pub(crate) fn release(&self) {
        self.state.released.send_replace(true);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a connection until either side has enough.
async fn serve(mut stream: BufReader<TcpStream>, state: Arc<State>) -> Option<()> {
    loop {
        let asked = read(&mut stream).await?;
        if asked.verb == "GET" {
            stream.write_all(bare("405 No").as_bytes()).await.ok()?;
            continue;
        }
        let reply = answer(&asked, &state).await;
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
}

async fn answer(asked: &Asked, state: &State) -> String {
    let body = &asked.body;
    match body["method"].as_str() {
        Some("initialize") => {
            let result = json!({
                "protocolVersion": body["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "held", "version": "1"},
            });
            response("up", body, &result)
        }
        Some("tools/list") => response("up", body, &listed()),
        Some("tools/call") => {
            state.note(&body["params"]);
            let mut released = state.released.subscribe();
            released.wait_for(|released| *released).await.unwrap();
            let result = json!({"content": [{"type": "text", "text": "done"}]});
            response("up", body, &result)
        }
        Some(_) if body.get("id").is_some() => response("up", body, &json!({})),
        Some(_) => bare("202 Accepted"),
        None => bare("200 OK"),
    }
}

impl State {
    fn note(&self, params: &Value) {
        let tool = params["name"].as_str().unwrap_or_default().to_owned();
        let number = params["arguments"]["number"].as_u64().unwrap_or_default();
        *self.runs.lock().entry((tool, number)).or_default() += 1;
    }
}

fn listed() -> Value {
    let annotations = [
        json!({"readOnlyHint": true}),
        json!({"idempotentHint": true}),
        json!({"readOnlyHint": false}),
    ];
    let tools = TOOLS.into_iter().zip(annotations).map(|(name, annotations)| {
        json!({"name": name, "inputSchema": {"type": "object"}, "annotations": annotations})
    });
    json!({"tools": tools.collect::<Vec<_>>()})
}
