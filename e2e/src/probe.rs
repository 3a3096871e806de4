//! Fresh clients, one connection each: is anybody answered, is everybody?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::wait;

/// Longer than that is no service.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two rounds of which the first failed.
const PAUSE: Duration = Duration::from_millis(100);
/// Sessions of one round. Each lands on a shard by chance: when a worker's 32 shards of 64
/// are away, one round in 2^64 does not see it; when one shard is, one in 2.7.
const ROUND: usize = 64;
/// Of a round at the same time: the probe must not be the load.
const AT_ONCE: usize = 8;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"message":"e2e"}}}"#;

/// A connection, and the session that was opened on it.
struct Client {
    http: SendRequest<Full<Bytes>>,
    authority: String,
    session: Option<String>,
}

/// Waits until one session is opened and a call in it answered.
pub(crate) async fn first_answer(authority: &str, limit: Duration) -> Result<()> {
    wait::until_every(PAUSE, "a first answered call", limit, async || {
        session(authority.to_owned()).await.map(|_| ())
    })
    .await
}

/// Waits for a round in which every fresh session was answered. Service was back when
/// that round began, or as much later as its slowest session had to wait: the time from
/// `since` to then.
pub(crate) async fn full_service(
    authority: &str,
    since: Instant,
    limit: Duration,
) -> Result<Duration> {
    wait::until_every(PAUSE, "full service", limit, async || {
        let began = since.elapsed();
        Ok(began + round(authority).await?)
    })
    .await
}

/// How long the slowest session of a round took.
pub(crate) async fn round(authority: &str) -> Result<Duration> {
    let mut running = JoinSet::new();
    let mut slowest = Duration::ZERO;
    for _ in 0..ROUND {
        if running.len() >= AT_ONCE {
            slowest = slowest.max(next(&mut running).await?);
        }
        running.spawn(session(authority.to_owned()));
    }
    while !running.is_empty() {
        slowest = slowest.max(next(&mut running).await?);
    }
    Ok(slowest)
}

async fn next(running: &mut JoinSet<Result<Duration>>) -> Result<Duration> {
    let ended = running.join_next().await.context("a session runs")?;
    ended.context("a session panicked")?
}

/// One legacy session from its beginning to its end, and how long it took.
async fn session(authority: String) -> Result<Duration> {
    let start = Instant::now();
    let answered = timeout(PATIENCE, async {
        let mut client = Client::connect(authority).await?;
        client.post(INITIALIZE, StatusCode::OK).await?;
        client.post(INITIALIZED, StatusCode::ACCEPTED).await?;
        let answer = client.post(CALL, StatusCode::OK).await?;
        ensure!(answer.contains("\"result\""), "not answered: {answer}");
        client.delete().await
    });
    answered.await.context("no answer in time")??;
    Ok(start.elapsed())
}

impl Client {
    async fn connect(authority: String) -> Result<Self> {
        let stream = TcpStream::connect(&authority).await;
        let stream = stream.with_context(|| format!("connect to {authority}"))?;
        let (http, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            http,
            authority,
            session: None,
        })
    }

    async fn post(&mut self, body: &'static str, expected: StatusCode) -> Result<String> {
        self.send(Method::POST, body, expected).await
    }

    async fn delete(&mut self) -> Result<()> {
        let ended = self.send(Method::DELETE, "", StatusCode::OK).await;
        ended.map(|_| ())
    }

    async fn send(
        &mut self,
        method: Method,
        body: &'static str,
        expected: StatusCode,
    ) -> Result<String> {
        let mut request = Request::builder()
            .method(method)
            .uri("/mcp")
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("Mcp-Session-Id", session);
        }
        let request = request.body(Full::from(body))?;
        let (head, body) = self.http.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let said = String::from_utf8_lossy(&body).into_owned();
        ensure!(head.status == expected, "HTTP {}: {said}", head.status);
        if let Some(session) = head.headers.get("Mcp-Session-Id") {
            self.session = Some(session.to_str()?.to_owned());
        }
        Ok(said)
    }
}
