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
const PATIENCE: Duration = Duration::from_secs(5);
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
    wait::until("a first answered call", limit, async || {
        session(authority.to_owned()).await
    })
    .await
}

/// Waits for a round in which every fresh session was answered; the time from `since` to
/// its end.
pub(crate) async fn full_service(
    authority: &str,
    since: Instant,
    limit: Duration,
) -> Result<Duration> {
    wait::until("full service", limit, async || round(authority).await).await?;
    Ok(since.elapsed())
}

async fn round(authority: &str) -> Result<()> {
    let mut running = JoinSet::new();
    for _ in 0..ROUND {
        if running.len() >= AT_ONCE {
            next(&mut running).await?;
        }
        running.spawn(session(authority.to_owned()));
    }
    while !running.is_empty() {
        next(&mut running).await?;
    }
    Ok(())
}

async fn next(running: &mut JoinSet<Result<()>>) -> Result<()> {
    let ended = running.join_next().await.context("a session runs")?;
    ended.context("a session panicked")?
}

/// One legacy session from its beginning to its end.
async fn session(authority: String) -> Result<()> {
    let answered = timeout(PATIENCE, async {
        let mut client = Client::connect(authority).await?;
        client.post(INITIALIZE, StatusCode::OK).await?;
        client.post(INITIALIZED, StatusCode::ACCEPTED).await?;
        let answer = client.post(CALL, StatusCode::OK).await?;
        ensure!(answer.contains("\"result\""), "not answered: {answer}");
        client.delete().await
    });
    answered.await.context("no answer in time")?
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
