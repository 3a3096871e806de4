//! Serves one client connection, in the HTTP version that it opens with.

use std::convert::Infallible;
use std::time::Duration;

use http::Version;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::reply::Body;

/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Longest head of a request, in bytes: clients that never finish theirs hold no
/// more. A session id and a mirrored name are far shorter.
const MAX_HEAD: usize = 64 << 10;
/// Pause before a client that dribbles is looked at again.
const PEEK_PAUSE: Duration = Duration::from_millis(20);
/// A client's request may be on its way when the edge stops accepting. Only
/// after this long is a connection without one taken to be idle and closed.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How connections are kept and ended.
#[derive(Debug, Clone)]
pub(crate) struct Keeping {
    /// How long a connection may be without a complete request head. HTTP/2
    /// pings its client then: one that answers may stay.
    pub(crate) idle_timeout: Duration,
    /// Fires when nobody is accepted any more.
    pub(crate) closing: CancellationToken,
}

impl Keeping {
    /// Waits until idle connections are to be closed.
    async fn last_call(&self) {
        self.closing.cancelled().await;
        tokio::time::sleep(LAST_CALL).await;
    }
}

/// Serves requests until the client leaves, or the edge closes and none is
/// under way.
pub(crate) async fn serve<S>(stream: TcpStream, service: S, keeping: &Keeping) -> Result<(), String>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    S::Future: Send + 'static,
{
    stream.set_nodelay(true).map_err(text)?;
    let version = tokio::select! {
        version = opening(&stream, keeping.idle_timeout) => version?,
        () = keeping.last_call() => return Ok(()),
    };
    let io = TokioIo::new(stream);
    if version == Version::HTTP_2 {
        return serve_http2(io, service, keeping).await;
    }
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(keeping.idle_timeout)
        .max_buf_size(MAX_HEAD);
    let mut served = std::pin::pin!(http.serve_connection(io, service));
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(text),
        () = keeping.last_call() => served.as_mut().graceful_shutdown(),
    }
    served.await.map_err(text)
}

async fn serve_http2<S>(io: TokioIo<TcpStream>, service: S, keeping: &Keeping) -> Result<(), String>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    S::Future: Send + 'static,
{
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .keep_alive_interval(keeping.idle_timeout)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32);
    let mut served = std::pin::pin!(http.serve_connection(io, service));
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(text),
        // HTTP/2 says goodbye without losing what is on its way.
        () = keeping.closing.cancelled() => served.as_mut().graceful_shutdown(),
    }
    served.await.map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The HTTP version, told from the first bytes, which must come within `limit`.
async fn opening(stream: &TcpStream, limit: Duration) -> Result<Version, String> {
    tokio::time::timeout(limit, peek(stream))
        .await
        .map_err(|_| "no request in time".to_owned())?
        .map_err(text)
}

/// Tells the HTTP version without taking a byte.
async fn peek(stream: &TcpStream) -> std::io::Result<Version> {
    // Enough to tell HTTP/2's preface "PRI * HTTP/2.0" from any method.
    const PREFACE: &[u8] = b"PRI";
    let mut head = [0; PREFACE.len()];
    loop {
        let seen = stream.peek(&mut head).await?;
        if seen == 0 || !PREFACE.starts_with(&head[..seen]) {
            return Ok(Version::HTTP_11);
        }
        if seen == PREFACE.len() {
            return Ok(Version::HTTP_2);
        }
        // One or two bytes that fit both; the socket stays readable meanwhile.
        tokio::time::sleep(PEEK_PAUSE).await;
    }
}
