//! The admin HTTP server: `/livez`, `/readyz`, `/metrics`, `/status`.
//!
//! It answers probes, scrapes and operators, never clients, and it changes
//! nothing. It must outlive the drain, during which `/readyz` says 503.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::metrics::Metrics;
use pages::Pages;

mod pages;

/// A connection that sends no complete request head for so long is closed;
/// the same bounds how long one may be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Enough for an answer under way when the server stops.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Rest after a failed accept: out of file descriptors, it fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the admin server listens.
#[derive(Clone, Debug, clap::Args)]
pub struct AdminArgs {
    /// Address of /livez, /readyz, /metrics and /status; port 0 takes a free one
    #[arg(
        id = "admin",
        long = "admin",
        value_name = "ADDR",
        default_value = "127.0.0.1:9090"
    )]
    pub addr: SocketAddr,
}

/// Builds the body of `/status`; called at every request, so it must be quick.
pub type Status = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// The admin server could not listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another socket has the port.
    #[error(
        "the admin address {addr} is in use by another process: choose a free one with --admin ADDR (port 0 takes any)"
    )]
    InUse {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// Any other refusal of the operating system.
    #[error("cannot listen on the admin address {addr}: {reason}; change it with --admin ADDR")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system says.
        reason: io::Error,
    },
}

/// A bound admin server: connections queue until [`Admin::run`] answers them.
pub struct Admin {
    listener: TcpListener,
    local_addr: SocketAddr,
    pages: Arc<Pages>,
}

impl Admin {
    /// Listens on `addr`.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub async fn bind(
        addr: SocketAddr,
        health: Health,
        metrics: Metrics,
        status: Status,
    ) -> Result<Self, Error> {
        let refused = |reason: io::Error| match reason.kind() {
            io::ErrorKind::AddrInUse => Error::InUse { addr },
            _ => Error::Listen { addr, reason },
        };
        let listener = TcpListener::bind(addr).await.map_err(refused)?;
        let local_addr = listener.local_addr().map_err(refused)?;
        let pages = Arc::new(Pages {
            health,
            metrics,
            status,
        });
        Ok(Self {
            listener,
            local_addr,
            pages,
        })
    }

    /// The address it listens on, with the port that was chosen for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers requests until `shutdown` is cancelled, then finishes those
    /// under way. Pass a token that is cancelled after the drain.
    pub async fn run(self, shutdown: CancellationToken) {
        let connections = GracefulShutdown::new();
        tracing::info!(addr = %self.local_addr, "admin server listening");
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.serve(stream, &connections),
                    Err(error) => {
                        tracing::warn!(%error, "failed to accept an admin connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        // Who has not read his answer by then does not want it.
        let _ = timeout(STOP_GRACE, connections.shutdown()).await;
    }

    fn serve(&self, stream: TcpStream, connections: &GracefulShutdown) {
        let pages = self.pages.clone();
        let service = service_fn(move |request| ready(Ok::<_, Infallible>(pages.answer(&request))));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "admin connection ended");
            }
        });
    }
}
