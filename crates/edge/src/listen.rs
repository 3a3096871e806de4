//! Accepts client connections until the drain, and sees to their end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;

use hexagram_runtime::drain::{Drain, DrainArgs};
use hexagram_runtime::listener::Listener;

use crate::EdgeError;
use crate::age::Age;
use crate::args::EdgeArgs;
use crate::client::Connection;
use crate::connection::{self, Keeping, LAST_CALL};
use crate::service::McpService;

/// How often a leaving edge looks whether its clients have left.
const LEAVE_PAUSE: Duration = Duration::from_millis(50);
/// Clients get this long to take the answers that end their calls.
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
    listener: impl Listener,
    service: McpService,
    args: &EdgeArgs,
    drain: &DrainArgs,
    alone: bool,
    shutdown: CancellationToken,
) {
    let acceptor = Acceptor {
        connections: Drain::new(),
        permits: Arc::new(Semaphore::new(args.max_connections as usize)),
        serial: AtomicU64::new(0),
        keeping: Keeping {
            idle_timeout: args.idle_timeout(),
            closing: CancellationToken::new(),
        },
        age: args.connection_age(),
        service,
    };
    tokio::select! {
        () = acceptor.accept_all(&listener) => {}
        () = acceptor.leave(&shutdown, drain.delay(), alone) => {}
    }
    if let Err(error) = acceptor.accept_backlog(listener) {
        tracing::debug!(%error, "connections in the backlog are lost");
    }
    acceptor.drain(drain.grace()).await;
}

struct Acceptor {
    connections: Drain,
    permits: Arc<Semaphore>,
    serial: AtomicU64,
    keeping: Keeping,
    /// How long a connection may stay.
    age: Option<Duration>,
    service: McpService,
}

impl Acceptor {
    async fn accept_all(&self, listener: &impl Listener) {
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

    /// Serves who has connected already, then closes the door.
    fn accept_backlog(&self, listener: impl Listener) -> io::Result<()> {
        for (stream, peer) in listener.close()? {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                return Ok(());
            };
            self.serve_connection(stream, peer, permit);
        }
        Ok(())
    }

    fn serve_connection<I>(&self, stream: I, peer: SocketAddr, permit: OwnedSemaphorePermit)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connection = Arc::new(self.connection(peer));
        let age = Arc::clone(&connection.age);
        let stack = self.service.stack();
        // The stack is always ready, so no request waits for readiness.
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Arc::clone(&connection));
            stack.clone().call(request)
        });
        let open = self.service.metrics().connections.clone();
        let keeping = self.keeping.clone();
        open.inc();
        self.connections.spawn(async move {
            if let Err(error) = connection::serve(stream, service, &keeping, &age).await {
                tracing::debug!(error, %peer, "connection ended");
            }
            open.dec();
            drop(permit);
        });
    }

    /// Waits for the shutdown and the delay, in which load balancers learn of
    /// it; `alone`, only until the clients have left.
    async fn leave(&self, shutdown: &CancellationToken, delay: Duration, alone: bool) {
        shutdown.cancelled().await;
        self.service.leave();
        let until = Instant::now() + delay;
        while Instant::now() < until && !(alone && self.connections.running() == 0) {
            tokio::time::sleep(LEAVE_PAUSE).await;
        }
    }

    /// Ends the standing streams once each connection is to end with what runs on it: a
    /// client that opens its stream again then does so on a new one, at another edge.
    async fn part(&self, grace: Duration) {
        if self.connections.running() > 0 {
            tokio::time::sleep(LAST_CALL + LEAVE_PAUSE).await;
        }
        self.service.part(grace);
    }

    fn connection(&self, peer: SocketAddr) -> Connection {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let age = Age::new(self.age);
        Connection::new(peer.ip(), serial, crate::routing::nonce(), age)
    }

    async fn drain(self, grace: Duration) {
        self.keeping.closing.cancel();
        let open = self.connections.running();
        tracing::info!(connections = open, grace = ?grace, "draining client connections");
        self.part(grace).await;
        if self.connections.wait(grace).await == 0 {
            return;
        }
        tracing::warn!("drain grace is over, ending the calls that still run");
        self.service.end_calls();
        if self.connections.wait(FLUSH).await > 0 {
            tracing::warn!("some clients did not take their last answer");
        }
    }
}
