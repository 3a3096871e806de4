//! Accepts client connections and serves them until the drain.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;

use hexagram_runtime::drain::DrainArgs;

use crate::EdgeError;
use crate::args::EdgeArgs;
use crate::client::Connection;
use crate::reply::Body;
use crate::service::McpService;

/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Pause before a client that dribbles is looked at again.
const PEEK_PAUSE: Duration = Duration::from_millis(20);
/// How often a leaving edge looks whether its clients have left.
const LEAVE_PAUSE: Duration = Duration::from_millis(50);
/// Clients get this long for what is on its way when the edge closes: their
/// first request on a new connection, the answers that end their calls.
const FLUSH: Duration = Duration::from_secs(1);
/// Pause after a failed accept (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn bind(addr: SocketAddr) -> Result<TcpListener, EdgeError> {
    TcpListener::bind(addr)
        .await
        .map_err(|reason| EdgeError::Listen { addr, reason })
}

/// Serves until `shutdown` and the drain's delay, then lets calls finish
/// within its grace.
pub(crate) async fn serve(
    listener: TcpListener,
    service: McpService,
    args: &EdgeArgs,
    drain: &DrainArgs,
    shutdown: CancellationToken,
) {
    let acceptor = Acceptor {
        connections: GracefulShutdown::new(),
        permits: Arc::new(Semaphore::new(args.max_connections as usize)),
        serial: AtomicU64::new(0),
        idle_timeout: args.idle_timeout(),
        service,
    };
    tokio::select! {
        () = acceptor.accept_all(&listener) => {}
        () = acceptor.leave(&shutdown, drain.delay()) => {}
    }
    // Who is in the backlog has connected and is served.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        if let Ok(permit) = Arc::clone(&acceptor.permits).try_acquire_owned() {
            acceptor.serve_connection(stream, peer, permit);
        }
    }
    drop(listener);
    acceptor.drain(drain.grace()).await;
}

struct Acceptor {
    connections: GracefulShutdown,
    permits: Arc<Semaphore>,
    serial: AtomicU64,
    idle_timeout: Duration,
    service: McpService,
}

impl Acceptor {
    async fn accept_all(&self, listener: &TcpListener) {
        loop {
            // Over the limit, new connections wait in the kernel's backlog.
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, peer)) => self.serve_connection(stream, peer, permit),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve_connection(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let connection = Arc::new(self.connection(peer));
        let stack = self.service.stack();
        // The stack is always ready, so no request waits for readiness.
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Arc::clone(&connection));
            stack.clone().call(request)
        });
        let watcher = self.connections.watcher();
        let open = self.service.metrics().connections.clone();
        let idle_timeout = self.idle_timeout;
        let draining = self.service.draining();
        open.inc();
        tokio::spawn(async move {
            let served = async {
                // A drain waits for requests, not for clients that have sent none.
                let version = tokio::select! {
                    version = opening(&stream, idle_timeout) => version?,
                    () = after(&draining, FLUSH) => return Ok(()),
                };
                serve_http(stream, version, service, watcher, idle_timeout).await
            };
            if let Err(error) = served.await {
                tracing::debug!(error, %peer, "connection ended");
            }
            open.dec();
            drop(permit);
        });
    }

    /// Waits for the shutdown, then until the clients have left, at most `delay`.
    async fn leave(&self, shutdown: &CancellationToken, delay: Duration) {
        shutdown.cancelled().await;
        self.service.leave();
        let until = Instant::now() + delay;
        while self.connections.count() > 0 && Instant::now() < until {
            tokio::time::sleep(LEAVE_PAUSE).await;
        }
    }

    fn connection(&self, peer: SocketAddr) -> Connection {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        Connection::new(peer.ip(), serial, crate::routing::random_u128())
    }

    async fn drain(self, grace: Duration) {
        self.service.end_streams();
        let open = self.connections.count();
        tracing::info!(connections = open, grace = ?grace, "draining client connections");
        let ended = self.connections.shutdown();
        tokio::pin!(ended);
        if tokio::time::timeout(grace, &mut ended).await.is_ok() {
            return;
        }
        tracing::warn!("drain grace is over, ending the calls that still run");
        self.service.end_calls();
        if tokio::time::timeout(FLUSH, &mut ended).await.is_err() {
            tracing::warn!("some clients did not take their last answer");
        }
    }
}

async fn after(event: &CancellationToken, pause: Duration) {
    event.cancelled().await;
    tokio::time::sleep(pause).await;
}

/// Serves one connection, in the HTTP version that its client opens with.
async fn serve_http<S>(
    stream: TcpStream,
    version: Version,
    service: S,
    watcher: Watcher,
    idle_timeout: Duration,
) -> Result<(), String>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    S::Future: Send + 'static,
{
    stream
        .set_nodelay(true)
        .map_err(|error| error.to_string())?;
    let io = TokioIo::new(stream);
    let served = match version {
        Version::HTTP_2 => {
            let mut http = http2::Builder::new(TokioExecutor::new());
            http.timer(TokioTimer::new())
                .keep_alive_interval(idle_timeout)
                .max_concurrent_streams(MAX_STREAMS);
            watcher.watch(http.serve_connection(io, service)).await
        }
        _ => {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(idle_timeout);
            watcher.watch(http.serve_connection(io, service)).await
        }
    };
    served.map_err(|error| error.to_string())
}

/// The HTTP version, told from the first bytes, which must come within `limit`.
async fn opening(stream: &TcpStream, limit: Duration) -> Result<Version, String> {
    tokio::time::timeout(limit, peek(stream))
        .await
        .map_err(|_| "no request in time".to_owned())?
        .map_err(|error| error.to_string())
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
