//! The admin HTTP server: `/livez`, `/readyz`, `/metrics`, `/status`.
//!
//! It answers probes, scrapes and operators, never clients, and by itself it
//! changes nothing: what is POSTed or DELETEd is for the [`Orders`] of its process. It
//! must outlive the drain, during which `/readyz` says 503.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::{Method, Request};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::metrics::Metrics;
use crate::serve::{Page, serve};
use pages::Pages;

mod pages;

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

/// Answers what is POSTed or DELETEd, told who asks; it is to refuse whoever may not.
pub type Orders = Arc<
    dyn Fn(SocketAddr, Request<Incoming>) -> Pin<Box<dyn Future<Output = Page> + Send>>
        + Send
        + Sync,
>;

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
    orders: Option<Orders>,
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
            orders: None,
        })
    }

    /// With somebody who answers what is POSTed or DELETEd.
    #[must_use]
    pub fn with_orders(mut self, orders: Orders) -> Self {
        self.orders = Some(orders);
        self
    }

    /// The address it listens on, with the port that was chosen for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers requests until `shutdown` is cancelled, then finishes those
    /// under way. Pass a token that is cancelled after the drain.
    pub async fn run(self, shutdown: CancellationToken) {
        tracing::info!(addr = %self.local_addr, "admin server listening");
        let (pages, orders) = (self.pages, self.orders);
        let answer = move |peer: SocketAddr, request: Request<Incoming>| match &orders {
            Some(orders) if is_order(request.method()) => orders(peer, request),
            _ => Box::pin(ready(pages.answer(&request))),
        };
        serve(self.listener, answer, shutdown).await;
    }
}

fn is_order(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::DELETE)
}
