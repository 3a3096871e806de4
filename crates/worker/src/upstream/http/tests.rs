//! A server that says exactly what a test wants, byte by byte.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::tests::{limits, message, next, soon};
use super::super::{UpstreamError, UpstreamLimits};
use super::{HttpConnection, Target};

const JSON: &str = "Content-Type: application/json\r\n";
const SSE: &str = "Content-Type: text/event-stream\r\n";
const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":"1","result":{}}"#;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

/// Serves one request a connection. After what `answer` gives it closes the
/// connection; nothing keeps it waiting in silence.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) async fn start(
        answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = Self {
            address,
            seen: Arc::clone(&seen),
        };
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                tokio::spawn(async move { serve(stream, &*answer, &seen).await });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().clone()
    }

    fn connect(&self, limits: UpstreamLimits) -> HttpConnection {
        HttpConnection::new(Target::new(self.url(), HeaderMap::new(), limits).expect("a target"))
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&Request) -> Vec<u8> + Send + Sync),
    seen: &Mutex<Vec<Request>>,
) {
    let Some(request) = read(&mut stream).await else {
        return;
    };
    let answer = answer(&request);
    seen.lock().push(request);
    if answer.is_empty() {
        // Silent until the client gives up.
        let _ = stream.read(&mut [0]).await;
        return;
    }
    // In pieces, so that events arrive cut.
    for piece in answer.chunks(7) {
        if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let mut lines = head.lines();
        let method = lines.next()?.split(' ').next()?.to_owned();
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length");
        if body.len() >= length.map_or(0, |length| length.parse().expect("a length")) {
            let body = body.to_owned();
            return Some(Request {
                method,
                headers,
                body,
            });
        }
    }
}

/// A complete reply.
pub(crate) fn reply(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

fn request() -> Bytes {
    Bytes::from_static(br#"{"jsonrpc":"2.0","id":"1","method":"tools/list"}"#)
}

/// What comes of a request that gets this answer.
async fn outcome(answer: Vec<u8>) -> Result<super::Incoming, UpstreamError> {
    let server = Server::start(move |_| answer.clone()).await;
    soon(server.connect(limits()).request("\"1\"", request())).await
}

/// The first exchange, in which the upstream may issue a session.
async fn begin(connection: &HttpConnection) {
    let mut answer = soon(connection.request("\"1\"", request()))
        .await
        .expect("a session");
    assert_eq!(message(&mut answer).await["id"], "1");
}

async fn failure(answer: Vec<u8>) -> UpstreamError {
    outcome(answer).await.err().expect("a failure")
}

#[tokio::test]
async fn json_and_event_streams_give_the_response() {
    let events = format!(
        "id: 0\nretry: 10\ndata:\n\n: keep-alive\n\nevent: message\ndata: {}\n\ndata: {RESPONSE}\n\n",
        r#"{"jsonrpc":"2.0","method":"notifications/message"}"#
    );
    let mut json = outcome(reply("200 OK", JSON, RESPONSE))
        .await
        .expect("JSON");
    assert_eq!(message(&mut json).await["id"], "1");
    assert!(next(&mut json).await.is_none());
    let mut events = outcome(reply("200 OK", SSE, &events)).await.expect("SSE");
    assert_eq!(
        message(&mut events).await["method"],
        "notifications/message"
    );
    assert_eq!(message(&mut events).await["id"], "1");
    assert!(next(&mut events).await.is_none());
}

#[tokio::test]
async fn a_refusal_in_mcp_is_the_answer() {
    let error = r#"{"jsonrpc":"2.0","id":"1","error":{"code":-32602,"message":"no"}}"#;
    let mut refused = outcome(reply("400 Bad Request", JSON, error))
        .await
        .expect("an answer");
    assert_eq!(message(&mut refused).await["error"]["code"], -32602);
}

#[tokio::test]
async fn an_unknown_session_is_gone_for_good() {
    let server = Server::start(|request| {
        let session = format!("{JSON}Mcp-Session-Id: s\r\n");
        match request.headers.get("mcp-session-id").map(String::as_str) {
            None => reply("200 OK", &session, RESPONSE),
            Some(_) => reply("404 Not Found", "", "no such session"),
        }
    })
    .await;
    let connection = server.connect(limits());
    begin(&connection).await;
    assert!(connection.is_open());
    let error = soon(connection.request("\"1\"", request())).await.err();
    assert!(
        matches!(error, Some(UpstreamError::SessionGone)),
        "{error:?}"
    );
    assert!(!connection.is_open());
    soon(connection.close()).await;
    assert_eq!(server.seen().len(), 2, "what is gone is not deleted");
}

#[tokio::test]
async fn a_session_is_deleted_once() {
    let server = Server::start(|request| match request.method.as_str() {
        "POST" => reply("200 OK", &format!("{JSON}Mcp-Session-Id: s\r\n"), RESPONSE),
        _ => reply("405 Method Not Allowed", "", ""),
    })
    .await;
    let connection = server.connect(limits());
    begin(&connection).await;
    soon(connection.close()).await;
    soon(connection.close()).await;
    assert!(!connection.is_open());
    let methods: Vec<_> = server.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["POST", "DELETE"]);
}

#[tokio::test]
async fn a_session_closes_at_an_upstream_that_hangs() {
    let server = Server::start(|request| match request.method.as_str() {
        "POST" => reply("200 OK", &format!("{JSON}Mcp-Session-Id: s\r\n"), RESPONSE),
        _ => Vec::new(),
    })
    .await;
    let limits = UpstreamLimits {
        silence: Duration::from_secs(3600),
        ..limits()
    };
    let connection = server.connect(limits);
    begin(&connection).await;
    soon(connection.close()).await;
    assert!(!connection.is_open());
}

#[tokio::test]
async fn refusals_keep_their_status() {
    for (line, expected) in [
        ("404 Not Found", 404),
        ("503 Service Unavailable", 503),
        ("500 Internal Server Error", 500),
    ] {
        let error = failure(reply(line, "", "words")).await;
        let UpstreamError::Refused { status, detail, .. } = error else {
            panic!("{line}: {error}");
        };
        assert_eq!((status, detail.as_str()), (expected, "words"));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server =
        Server::start(|_| reply("307 Temporary Redirect", "Location: /elsewhere\r\n", "")).await;
    let error = soon(server.connect(limits()).request("\"1\"", request()))
        .await
        .err();
    assert!(
        matches!(error, Some(UpstreamError::Refused { status: 307, .. })),
        "{error:?}"
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_standing_stream_that_is_not_offered_is_empty() {
    // A route without a GET is a 404 in some frameworks; the session lives on.
    for status in ["405 Method Not Allowed", "404 Not Found"] {
        let server = Server::start(move |request: &Request| match &*request.method {
            "GET" => reply(status, "", ""),
            _ => reply("200 OK", &format!("{JSON}Mcp-Session-Id: s1\r\n"), RESPONSE),
        })
        .await;
        let connection = server.connect(limits());
        begin(&connection).await;
        let mut incoming = soon(connection.standing()).await.expect("a stream");
        let message = tokio::time::timeout(Duration::from_millis(100), incoming.next()).await;
        assert!(message.is_err(), "{status}: {message:?}");
        assert!(connection.is_open(), "{status}");
    }
}

#[tokio::test]
async fn a_page_in_the_place_of_the_standing_stream_is_none() {
    let server = Server::start(|request: &Request| match &*request.method {
        "GET" => reply("200 OK", "Content-Type: text/html\r\n", "<html>"),
        _ => reply("200 OK", &format!("{JSON}Mcp-Session-Id: s1\r\n"), RESPONSE),
    })
    .await;
    let connection = server.connect(limits());
    begin(&connection).await;
    let stood = soon(connection.standing()).await;
    assert!(matches!(stood, Err(UpstreamError::Garbage(_))));
    assert!(!connection.has_stood());
}

#[tokio::test]
async fn a_refusal_with_an_id_of_its_own_is_a_refusal() {
    for id in ["null", "\"server-error\""] {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"no"}}}}"#);
        let error = failure(reply("400 Bad Request", JSON, &body)).await;
        assert!(
            matches!(error, UpstreamError::Refused { status: 400, .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_an_answer_is_garbage() {
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/message"}"#;
    let oversize = format!("\"{}\"", "x".repeat(limits().max_message));
    for body in ["<html>", "", notification, &oversize] {
        let error = failure(reply("200 OK", JSON, body)).await;
        assert!(matches!(error, UpstreamError::Garbage(_)), "{error}");
    }
    let event = format!("data: {oversize}\n\n");
    let mut events = outcome(reply("200 OK", SSE, &event)).await.expect("SSE");
    let end = next(&mut events).await;
    assert!(
        matches!(end, Some(Err(UpstreamError::Garbage(_)))),
        "{end:?}"
    );
}

/// A reply that promises more than it holds.
fn cut(content: &str) -> Vec<u8> {
    let size = content.len();
    format!("HTTP/1.1 200 OK\r\n{SSE}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{content}\r\n")
        .into_bytes()
}

#[tokio::test]
async fn a_connection_lost_on_the_way_is_broken() {
    let mut events = outcome(cut("data: {\"jsonrpc\"")).await.expect("SSE");
    let end = next(&mut events).await;
    assert!(
        matches!(end, Some(Err(UpstreamError::Broken(_)))),
        "{end:?}"
    );
    let error = failure(b"HTTP/1.1 200".to_vec()).await;
    assert!(matches!(error, UpstreamError::Broken(_)), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    let target = Target::new(url, HeaderMap::new(), limits()).expect("a target");
    let connection = HttpConnection::new(target);
    let error = soon(connection.request("\"1\"", request())).await.err();
    assert!(
        matches!(error, Some(UpstreamError::Unreachable(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn silence_ends_a_request() {
    let server = Server::start(|_| Vec::new()).await;
    let limits = UpstreamLimits {
        silence: Duration::from_millis(50),
        ..limits()
    };
    let error = soon(server.connect(limits).request("\"1\"", request()))
        .await
        .err();
    assert!(matches!(error, Some(UpstreamError::Silent(_))), "{error:?}");
}
