//! A small server of both eras whose behaviour a test changes while it is called.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What is done with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Answer,
    /// No answer, ever.
    Mute,
    /// 503 with a reason.
    Refuse,
    /// Perhaps it ran.
    Unsure,
    /// The stream of the reply ends, and says where to go on.
    LetGo,
    /// The tool itself fails.
    ToolFails,
    /// 401 to everything.
    Locked,
    /// Not MCP at all.
    Web,
    /// No modern requests, no streams.
    Old,
}

/// How all streams end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    Resumably,
    Abruptly,
}

#[derive(Debug, Default)]
struct Known {
    last: u64,
    sessions: BTreeSet<String>,
    /// Streams that were taken up by event id.
    resumed: u64,
}

#[derive(Debug)]
struct State {
    mode: Mutex<Mode>,
    known: Mutex<Known>,
    calls: watch::Sender<u64>,
    /// How the streams that are open end, and the end of how many this is.
    close: watch::Sender<(u64, Close)>,
}

/// The server; it serves until it is stopped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    state: Arc<State>,
    listener: Option<Arc<TcpListener>>,
    serving: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut server = Self {
            address: listener.local_addr().expect("its address"),
            state: Arc::new(State {
                mode: Mutex::new(mode),
                known: Mutex::default(),
                calls: watch::Sender::new(0),
                close: watch::Sender::new((0, Close::Resumably)),
            }),
            listener: Some(Arc::new(listener)),
            serving: JoinSet::new(),
        };
        server.serve();
        server
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Waits until so many calls more have come.
    pub(super) async fn called(&self, times: u64) {
        let wanted = *self.state.calls.borrow() + times;
        let mut calls = self.state.calls.subscribe();
        calls
            .wait_for(|calls| *calls >= wanted)
            .await
            .expect("calls");
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.state.mode.lock() = mode;
    }

    /// Ends all streams, and none that is opened later.
    pub(super) fn close_streams(&self, how: Close) {
        self.state
            .close
            .send_modify(|close| *close = (close.0 + 1, how));
    }

    pub(super) fn forget_sessions(&self) {
        self.state.known.lock().sessions.clear();
    }

    pub(super) fn sessions(&self) -> usize {
        self.state.known.lock().sessions.len()
    }

    pub(super) fn resumed(&self) -> u64 {
        self.state.known.lock().resumed
    }

    fn serve(&mut self) {
        let listener = self.listener.clone().expect("a port that is open");
        self.serving.spawn(serve(listener, self.state.clone()));
    }

    /// Closes all connections; new ones are served.
    pub(super) async fn cut(&mut self) {
        self.serving.shutdown().await;
        self.serve();
    }

    /// Closes the port and all connections.
    pub(super) async fn stop(&mut self) {
        self.serving.shutdown().await;
        self.listener = None;
    }

    /// Serves again where it served.
    pub(super) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("its port");
        self.listener = Some(Arc::new(listener));
        self.serve();
    }
}

async fn serve(listener: Arc<TcpListener>, state: Arc<State>) {
    // Connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let service = service_fn(move |request| respond(request, state.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move { drop(connection.await) });
    }
}

async fn respond(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let mode = *state.mode.lock();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let message = body.map(|body| serde_json::from_slice::<Value>(&body).unwrap_or_default());
    let message = message.unwrap_or_default();
    Ok(match (mode, &parts.method) {
        (Mode::Locked, _) => status(401),
        (Mode::Web, _) => full(200, "text/html", "<html>hello</html>"),
        (Mode::Old, &Method::GET) => status(405),
        (_, &Method::GET) => state.get(&parts.headers),
        (_, &Method::DELETE) => state.delete(&parts.headers),
        (_, _) => state.post(mode, &parts.headers, &message).await,
    })
}

impl State {
    fn knows(&self, headers: &HeaderMap) -> bool {
        let id = session(headers);
        id.is_none_or(|id| self.known.lock().sessions.contains(id))
    }

    fn get(&self, headers: &HeaderMap) -> Response<Body> {
        if !self.knows(headers) {
            return status(404);
        }
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
        if let Some(call) = last.and_then(|last| last.strip_prefix("call-")) {
            let id: u64 = call.parse().expect("the id of a call");
            let answer = result(&json!(id), &json!({ "content": [] }));
            return events(stream::iter([Ok(frame(&event(&answer)))]));
        }
        self.known.lock().resumed += u64::from(last.is_some());
        self.standing(
            "id: 1\ndata:\n\n".to_owned(),
            "id: 2\nretry: 20\ndata:\n\n".to_owned(),
        )
    }

    /// A stream with a first event that lasts until it is closed.
    fn standing(&self, first: String, last: String) -> Response<Body> {
        let mut close = self.close.subscribe();
        let end = async move {
            let closed = close.changed().await;
            let (_, how) = *close.borrow();
            match (closed, how) {
                (Ok(()), Close::Resumably) => Ok(frame(&last)),
                _ => Err(std::io::Error::other("cut")),
            }
        };
        let body = stream::once(async move { Ok(frame(&first)) });
        events(futures_util::StreamExt::chain(body, stream::once(end)))
    }

    fn delete(&self, headers: &HeaderMap) -> Response<Body> {
        match session(headers).map(|id| self.known.lock().sessions.remove(id)) {
            Some(true) => status(200),
            _ => status(404),
        }
    }

    async fn post(&self, mode: Mode, headers: &HeaderMap, message: &Value) -> Response<Body> {
        let id = &message["id"];
        if mode == Mode::Old && headers.contains_key("mcp-method") {
            return json_rpc(400, &error(id, -32022, "unsupported_version"));
        }
        if !self.knows(headers) {
            return json_rpc(404, &error(id, -32001, "session_not_found"));
        }
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => self.initialize(id),
            "tools/list" => {
                let needs = json!({ "name": "needs", "inputSchema": { "required": ["x"] } });
                let tools = json!([needs, { "name": "now", "inputSchema": {} }]);
                json_rpc(200, &result(id, &json!({ "tools": tools })))
            }
            "tools/call" => {
                self.calls.send_modify(|calls| *calls += 1);
                call(mode, id).await
            }
            "subscriptions/listen" => {
                let ack = json!({ "method": "notifications/subscriptions/acknowledged" });
                let completed = result(id, &json!({ "resultType": "complete" }));
                self.standing(event(&ack), event(&completed))
            }
            _ => status(202),
        }
    }

    fn initialize(&self, id: &Value) -> Response<Body> {
        let mut known = self.known.lock();
        known.last += 1;
        let session = format!("session-{}", known.last);
        known.sessions.insert(session.clone());
        let mut response = json_rpc(
            200,
            &result(id, &json!({ "protocolVersion": "2025-11-25" })),
        );
        let session = session.parse().expect("a header");
        response.headers_mut().insert("mcp-session-id", session);
        response
    }
}

async fn call(mode: Mode, id: &Value) -> Response<Body> {
    match mode {
        Mode::Mute => std::future::pending().await,
        Mode::Refuse => json_rpc(503, &error(id, -32011, "draining")),
        Mode::Unsure => json_rpc(200, &error(id, -32012, "outcome_unknown")),
        Mode::LetGo => {
            let position = format!("id: call-{id}\nretry: 10\ndata:\n\n");
            events(stream::iter([Ok(frame(&position))]))
        }
        Mode::ToolFails => json_rpc(200, &result(id, &json!({ "isError": true }))),
        _ => json_rpc(200, &result(id, &json!({ "content": [] }))),
    }
}

fn session(headers: &HeaderMap) -> Option<&str> {
    headers.get("mcp-session-id")?.to_str().ok()
}

fn result(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn error(id: &Value, code: i64, reason: &str) -> Value {
    let error = json!({ "code": code, "message": "no", "data": { "reason": reason } });
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn frame(text: &str) -> Frame<Bytes> {
    Frame::data(Bytes::from(text.to_owned()))
}

fn events(
    frames: impl futures_util::Stream<Item = std::io::Result<Frame<Bytes>>> + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let events = "text/event-stream".parse().expect("a header");
    response.headers_mut().insert("content-type", events);
    response
}

fn json_rpc(status: u16, message: &Value) -> Response<Body> {
    full(status, "application/json", &message.to_string())
}

fn status(code: u16) -> Response<Body> {
    full(code, "text/plain", "")
}

fn full(status: u16, kind: &str, text: &str) -> Response<Body> {
    let body = Full::from(text.to_owned()).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let kind = kind.parse().expect("a header");
    response.headers_mut().insert("content-type", kind);
    response
}
