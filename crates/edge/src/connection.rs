//! Serves one client connection, in the HTTP version that it opens with.

use std::convert::Infallible;
use std::time::Duration;

use http::Version;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::age::Age;
use crate::opening::{self, Opened};
use crate::reply::Body;

/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Longest head of a request, in bytes: clients that never finish theirs hold no
/// more. A session id and a mirrored name are far shorter.
const MAX_HEAD: usize = 64 << 10;
/// A client's request may be on its way when the edge stops accepting. Only
/// after this long is a connection without one taken to be idle and closed.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(1);

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
pub(crate) async fn serve<I, S>(
    stream: I,
    service: S,
    keeping: &Keeping,
    age: &Age,
) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    S::Future: Send + 'static,
{
    let (version, stream) = tokio::select! {
        opened = opening::open(stream, keeping.idle_timeout) => opened.map_err(text)?,
        () = keeping.last_call() => return Ok(()),
    };
    let io = TokioIo::new(stream);
    if version == Version::HTTP_2 {
        return serve_http2(io, service, keeping, age).await;
    }
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(keeping.idle_timeout)
        .max_buf_size(MAX_HEAD);
    let mut served = std::pin::pin!(http.serve_connection(io, service));
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(text),
        () = keeping.last_call() => served.as_mut().graceful_shutdown(),
        () = age.closing() => served.as_mut().graceful_shutdown(),
    }
    served.await.map_err(text)
}

async fn serve_http2<I, S>(
    io: TokioIo<Opened<I>>,
    service: S,
    keeping: &Keeping,
    age: &Age,
) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
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
        () = age.over() => served.as_mut().graceful_shutdown(),
    }
    served.await.map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
