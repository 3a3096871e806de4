//! The edge: speaks MCP's transports to clients, finds the shard of each
//! message and carries it to the worker that owns the shard.
//!
//! ```text
//! listen -> checks (Host, Origin, principal) -> service -> routing -> exchange -> link -> worker
//!                                                  reply <- exchange <-
//! ```
//!
//! The switchboard knows every shard's owner and its link. A shard may move
//! while an exchange is under way: the exchange follows it (parked meanwhile),
//! and neither the reply nor the client notices.
//!
//! An edge is stateless in the sense of DESIGN 5a: it holds what dies with its
//! sockets or can be learnt again, and no session.

mod age;
mod args;
mod auth;
mod body;
mod check;
mod client;
mod connection;
mod delivered;
mod directory;
mod exchange;
mod guard;
mod link;
mod links;
mod listen;
mod metrics;
mod opening;
mod parking;
mod parting;
mod reply;
mod rings;
mod room;
mod routes;
mod routing;
mod seek;
mod service;
mod slot;
mod switchboard;
#[cfg(test)]
mod testing;
mod trouble;
mod unanswered;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hexagram_core::{Incarnation, Sealer, ShardCount};
use hexagram_runtime::drain::DrainArgs;
use hexagram_runtime::files;
use hexagram_runtime::health::Health;
use hexagram_runtime::listener::Listener;
use hexagram_runtime::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use args::{AuthKind, EdgeArgs};
pub use auth::api_key_digest;
pub use directory::Directory;
pub use hexagram_proto::{Connector, Dial, LINK_VERSION_MAX, LINK_VERSION_MIN, WorkerAddress};
pub use links::LinkStatus;
pub use switchboard::{MapStatus, RouteStatus};

use switchboard::Switchboard;

/// Why an edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The client address could not be bound.
    #[error("cannot listen for clients on {addr}: {reason}; choose another with --listen")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// The operating system's reason.
        reason: std::io::Error,
    },
    /// A setting is unusable, or does not go with another.
    #[error("{0}")]
    Settings(String),
    /// A file that a setting names cannot be used.
    #[error("{0}")]
    File(String),
}

/// What the binary gives an edge beside its arguments.
pub struct EdgeContext {
    /// The cluster's id; links to another cluster are refused.
    pub cluster: String,
    /// This edge's name, for logs and Hello.
    pub name: String,
    /// This process's incarnation.
    pub incarnation: Incarnation,
    /// Number of shards of the cluster.
    pub shards: ShardCount,
    /// Opens and refuses sealed session ids.
    pub sealer: Arc<Sealer>,
    /// Session ids older than this are refused with 404.
    pub session_lifetime: Duration,
    /// Newest link version to speak; the build's newest is `hexagram_proto::LINK_VERSION_MAX`.
    pub link_version: u32,
    /// Where shards live; the edge follows every change.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// Readiness of this process.
    pub health: Health,
    /// Registry of this process.
    pub metrics: Metrics,
    /// How this process drains.
    pub drain: DrainArgs,
    /// Nobody sends new clients here but its user: once all have left there is
    /// nothing to wait for.
    pub alone: bool,
}

/// A bound edge, not yet serving.
pub struct Edge<L = TcpListener> {
    listener: L,
    service: service::McpService,
    args: EdgeArgs,
    drain: DrainArgs,
    alone: bool,
    links: Arc<links::Links>,
    board: Arc<Switchboard>,
    directory: watch::Receiver<Arc<Directory>>,
}

impl Edge {
    /// Checks the settings as [`Self::bind`] does, and reads the files they name.
    ///
    /// # Errors
    /// [`EdgeError`] naming the setting to change.
    pub fn check(args: &EdgeArgs) -> Result<(), EdgeError> {
        service::settings(args).map(drop)
    }

    /// Binds the client address and checks the settings. Takes no more clients than this
    /// process may open files for.
    ///
    /// # Errors
    /// [`EdgeError`] naming the setting to change.
    pub async fn bind(mut args: EdgeArgs, context: EdgeContext) -> Result<Self, EdgeError> {
        let listener = listen::bind(args.listen).await?;
        args.max_connections = room::fit(args.max_connections, files::limit());
        Self::on(listener, args, context)
    }

    /// The address clients reach, with the port the system chose for port 0.
    ///
    /// # Errors
    /// The operating system's, if the socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl<L: Listener> Edge<L> {
    /// As [`Edge::bind`], where clients come over something else than a socket that
    /// the edge binds.
    ///
    /// # Errors
    /// [`EdgeError`] naming the setting to change.
    pub fn on(listener: L, args: EdgeArgs, context: EdgeContext) -> Result<Self, EdgeError> {
        let metrics = Arc::new(metrics::EdgeMetrics::register(&context.metrics));
        metrics.max_connections.set(args.max_connections.into());
        let map = context.directory.borrow().map.clone();
        let board = Arc::new(Switchboard::new(map, metrics));
        let links = Arc::new(links::Links::new(&context, Arc::clone(&board)));
        let directory = context.directory.clone();
        let drain = context.drain.clone();
        let alone = context.alone;
        let service = service::McpService::new(&args, context, Arc::clone(&board))?;
        Ok(Self {
            listener,
            service,
            args,
            drain,
            alone,
            links,
            board,
            directory,
        })
    }

    /// A view of the links for `/status`.
    pub fn link_status(&self) -> impl Fn() -> Vec<LinkStatus> + Send + Sync + 'static {
        let links = Arc::clone(&self.links);
        move || links.status()
    }

    /// A view of the shards and their owners for `/status`, as this edge knows
    /// them at that time.
    pub fn map_status(&self) -> impl Fn() -> MapStatus + Send + Sync + 'static {
        let board = Arc::clone(&self.board);
        move || board.status()
    }

    /// Serves once the workers are linked (connections wait until then, at most
    /// five seconds) until `shutdown`, then drains: standing streams end in their
    /// protocol's form and calls finish within `--drain-grace`.
    pub async fn run(self, shutdown: CancellationToken) {
        let links = tokio::spawn(Arc::clone(&self.links).follow(self.directory));
        let clock = tokio::spawn(Arc::clone(&self.links).keep_time(self.args.keep_alive));
        tokio::select! {
            () = self.links.complete() => {}
            () = shutdown.cancelled() => {}
        }
        listen::serve(
            self.listener,
            self.service,
            &self.args,
            &self.drain,
            self.alone,
            shutdown,
        )
        .await;
        links.abort();
        clock.abort();
    }
}
