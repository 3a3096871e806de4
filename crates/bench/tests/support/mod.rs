//! A server whose answers a test chooses, and loads run against servers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hexagram_bench::era::Era;
use hexagram_bench::fleet::{Fleet, Pace, Plan};
use hexagram_bench::tally::{SharedTally, Tally};
use hexagram_bench::target::{Target, Tool};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What a server answers to one message; `None`: nothing, ever.
pub(crate) type Answer = Option<Response<Full<Bytes>>>;

/// Starts a server that answers each POST by `answer`; an empty body (DELETE) gets 200.
pub(crate) async fn server(answer: impl Fn(Value) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request| respond(request, answer.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn respond(
    request: Request<Incoming>,
    answer: Arc<impl Fn(Value) -> Answer>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let answer = match serde_json::from_slice(&body) {
        Ok(message) => answer(message),
        Err(_) => Some(Response::default()),
    };
    match answer {
        Some(response) => Ok(response),
        None => std::future::pending().await,
    }
}

/// A JSON-RPC result as `application/json`.
pub(crate) fn result(id: &Value, result: &Value) -> Response<Full<Bytes>> {
    let body = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    let mut response = Response::new(Full::from(body));
    let json = "application/json".parse().unwrap();
    response.headers_mut().insert("content-type", json);
    response
}

/// The right answer to `message`: an echo, a session, or nothing to say.
pub(crate) fn right(message: &Value) -> Response<Full<Bytes>> {
    let text = &message["params"]["arguments"]["message"];
    match message["method"].as_str() {
        Some("initialize") => {
            let mut response = result(&message["id"], &json!({ "protocolVersion": "2025-06-18" }));
            let session = "session".parse().unwrap();
            response.headers_mut().insert("mcp-session-id", session);
            response
        }
        Some("tools/call") => {
            let content = json!({ "content": [{ "type": "text", "text": text }] });
            result(&message["id"], &content)
        }
        _ => Response::builder()
            .status(202)
            .body(Full::default())
            .unwrap(),
    }
}

/// A plan that ends soon.
pub(crate) fn short(pace: Pace) -> Plan {
    Plan {
        length: Duration::from_millis(200),
        pace,
        grace: Duration::from_secs(5),
    }
}

/// The `echo` tool at `address`.
pub(crate) fn target(address: SocketAddr, era: Era) -> Arc<Target> {
    let tool = Tool {
        name: "echo",
        argument: "message",
    };
    Arc::new(Target::new(&format!("http://{address}/mcp"), era, tool, &[]).unwrap())
}

/// Runs `plan` over `connections` connections and ends their sessions.
pub(crate) async fn load(target: &Arc<Target>, connections: usize, plan: Plan) -> Tally {
    let tally = SharedTally::default();
    let mut fleet = Fleet::open(target, connections).await.unwrap();
    fleet.run(plan, &tally).await;
    fleet.close().await.unwrap();
    std::mem::take(&mut *tally.lock())
}
