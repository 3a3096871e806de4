//! An HTTP/1.1 server of small pages: what admin and control addresses share.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::listener::Listener;

/// A connection that sends no complete request head for so long is closed;
/// the same bounds how long one may be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Enough for an answer under way when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Rest after a failed accept: out of file descriptors, it fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A whole answer.
pub type Page = Response<Full<Bytes>>;

/// Answers requests, told who asks, until `shutdown` is cancelled; then finishes
/// those under way that take no longer than a second.
pub async fn serve<F>(
    listener: impl Listener,
    answer: impl Fn(SocketAddr, Request<Incoming>) -> F + Send + Sync + 'static,
    shutdown: CancellationToken,
) where
    F: Future<Output = Page> + Send + 'static,
{
    let (connections, answer) = (GracefulShutdown::new(), Arc::new(answer));
    let cut = CancellationToken::new();
    let _cut_at_the_end = cut.clone().drop_guard();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => connect(stream, peer, Arc::clone(&answer), &connections, cut.clone()),
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // Who has not read his answer by then does not want it.
    let _ = timeout(STOP_GRACE, connections.shutdown()).await;
}

fn connect<F>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    answer: Arc<impl Fn(SocketAddr, Request<Incoming>) -> F + Send + Sync + 'static>,
    connections: &GracefulShutdown,
    cut: CancellationToken,
) where
    F: Future<Output = Page> + Send + 'static,
{
    let service = service_fn(move |request| {
        let page = answer(peer, request);
        async { Ok::<_, Infallible>(page.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Some(Err(error)) = cut.run_until_cancelled(connection).await {
            tracing::debug!(%error, "connection ended");
        }
    });
}

/// A page of JSON.
pub fn json(code: StatusCode, body: &impl Serialize) -> Page {
    match serde_json::to_string(body) {
        Ok(body) => text(code, JSON, body),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A page that says why there is no other.
pub fn refusal(code: StatusCode, reason: &str) -> Page {
    let body = serde_json::json!({ "error": reason });
    text(code, JSON, body.to_string())
}

/// The reason in a [`refusal`]'s body, as its asker reads it.
#[must_use]
pub fn reason(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    body["error"].as_str().map(str::to_owned)
}

/// A page that nobody may keep.
pub fn text(code: StatusCode, content_type: HeaderValue, body: String) -> Page {
    let mut page = Response::new(Full::from(body));
    *page.status_mut() = code;
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    page
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_refusal_s_reason_is_read_from_its_body() {
        let page = refusal(StatusCode::CONFLICT, "it is \"there\" already");
        assert_eq!(page.status(), StatusCode::CONFLICT);
        let body = page.into_body().collect().await.expect("it is whole");
        let read = reason(&body.to_bytes());
        assert_eq!(read.as_deref(), Some("it is \"there\" already"));
        for other in ["", "no JSON", "[]", r#"{"error": 3}"#] {
            assert_eq!(reason(other.as_bytes()), None, "{other}");
        }
    }
}
