//! Accepts client connections and serves them until the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service, ServiceBuilder};

use crate::EdgeError;
use crate::args::EdgeArgs;
use crate::client::Connection;
use crate::service::McpService;

/// A client that has not sent its request's head by then is cut off.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after a failed accept (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn bind(addr: SocketAddr) -> Result<TcpListener, EdgeError> {
    TcpListener::bind(addr)
        .await
        .map_err(|source| EdgeError::Listen { addr, source })
}

/// Serves until `shutdown`, then lets calls finish within the grace.
pub(crate) async fn serve(
    listener: TcpListener,
    service: McpService,
    args: &EdgeArgs,
    shutdown: CancellationToken,
) {
    let acceptor = Acceptor {
        connections: GracefulShutdown::new(),
        permits: Arc::new(Semaphore::new(args.max_connections as usize)),
        serial: AtomicU64::new(0),
        service,
    };
    tokio::select! {
        () = acceptor.accept_all(&listener) => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    acceptor.drain(args.drain_grace()).await;
}

struct Acceptor {
    connections: GracefulShutdown,
    permits: Arc<Semaphore>,
    serial: AtomicU64,
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
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "connection ended before it was served");
            return;
        }
        let service = ServiceBuilder::new()
            .layer(WithConnection(Arc::new(self.connection(peer))))
            .service(self.service.stack());
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(256);
        let served = http
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .into_owned();
        let served = self.connections.watch(served);
        let open = self.service.metrics().connections.clone();
        open.inc();
        tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::debug!(%error, %peer, "connection ended");
            }
            open.dec();
            drop(permit);
        });
    }

    fn connection(&self, peer: SocketAddr) -> Connection {
        Connection {
            peer: peer.ip(),
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
            nonce: crate::routing::random_u128(),
        }
    }

    async fn drain(self, grace: Duration) {
        self.service.end_streams();
        let open = self.connections.count();
        tracing::info!(connections = open, grace = ?grace, "draining client connections");
        if tokio::time::timeout(grace, self.connections.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("drain grace is over, closing what is left");
        }
    }
}

/// Tells every request which connection it came on.
#[derive(Clone)]
struct WithConnection(Arc<Connection>);

impl<S> Layer<S> for WithConnection {
    type Service = Connected<S>;

    fn layer(&self, inner: S) -> Connected<S> {
        Connected {
            connection: Arc::clone(&self.0),
            inner,
        }
    }
}

#[derive(Clone)]
struct Connected<S> {
    connection: Arc<Connection>,
    inner: S,
}

impl<S, B> Service<http::Request<B>> for Connected<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> S::Future {
        request
            .extensions_mut()
            .insert(Arc::clone(&self.connection));
        self.inner.call(request)
    }
}
