//! What a worker holds for a client beyond its sealed id: the upstream
//! sessions opened for it and the requests under way.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::facts::ClientFacts;
use crate::hearing::Ear;
use crate::requests;
use crate::streams::Streams;
use crate::subscriptions::Subscriptions;
use crate::upstream::{Connection, Upstream, UpstreamError};

/// For restoring what a client had asked of an upstream session.
const RESTORE: Duration = Duration::from_secs(5);

/// A request under way at an upstream.
#[derive(Debug, Clone)]
pub(crate) struct InFlight {
    pub(crate) connection: Arc<Connection>,
    pub(crate) upstream_id: String,
    /// Fires when the client has cancelled: no response will come.
    pub(crate) cancelled: CancellationToken,
}

/// One client's upstream sessions. Never shared between clients: sharing
/// would leak one client's state to another (DESIGN 5b).
pub(crate) struct Session {
    pub(crate) facts: ClientFacts,
    // By upstream index; the async lock lets one caller open and others wait.
    connections: Vec<tokio::sync::Mutex<Option<Arc<Connection>>>>,
    in_flight: Mutex<HashMap<Box<str>, InFlight>>,
    log_level: Mutex<Option<Box<str>>>,
    pub(crate) subscriptions: Subscriptions,
    opened: watch::Sender<Vec<Option<Arc<Connection>>>>,
    used: Mutex<Instant>,
    idle: Duration,
    closed: CancellationToken,
    deleted: CancellationToken,
    pub(crate) streams: Streams,
    pub(crate) ear: Ear,
}

impl Session {
    /// `idle` is how long it is kept unused.
    pub(crate) fn new(facts: ClientFacts, upstreams: usize, idle: Duration) -> Self {
        Self {
            facts,
            connections: (0..upstreams)
                .map(|_| tokio::sync::Mutex::default())
                .collect(),
            in_flight: Mutex::default(),
            log_level: Mutex::default(),
            subscriptions: Subscriptions::default(),
            opened: watch::Sender::new(vec![None; upstreams]),
            used: Mutex::new(Instant::now()),
            idle,
            closed: CancellationToken::new(),
            deleted: CancellationToken::new(),
            streams: Streams::default(),
            ear: Ear::default(),
        }
    }

    /// The upstream session, opened at first use.
    ///
    /// # Errors
    /// What kept it from being opened; the next call tries again.
    pub(crate) async fn connection(
        &self,
        index: usize,
        upstream: &Upstream,
    ) -> Result<Arc<Connection>, UpstreamError> {
        let mut slot = self.connections[index].lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_open()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(upstream.open(&self.facts).await?);
        // It is there anyway; what was asked of the old one is asked again.
        let _ = tokio::time::timeout(RESTORE, self.restore(index, &connection)).await;
        *slot = Some(Arc::clone(&connection));
        self.opened
            .send_modify(|all| all[index] = Some(Arc::clone(&connection)));
        if self.closed.is_cancelled() {
            // Closed while it was opened: the closing may have missed it.
            connection.close().await;
        }
        Ok(connection)
    }

    /// Tells a new upstream session what the client had asked of the old one.
    async fn restore(&self, index: usize, connection: &Connection) {
        let level = self.log_level().map(|level| requests::set_level(&level));
        let resources = self.subscriptions.of(index);
        let subscribe = resources.iter().map(|uri| requests::subscribe(uri));
        for request in level.into_iter().chain(subscribe) {
            if let Err(error) = request.ask(connection).await {
                tracing::debug!(%error, "not restored at a new upstream session");
            }
        }
    }

    /// Forgets an upstream session that the upstream has forgotten.
    pub(crate) async fn forget(&self, index: usize, connection: &Arc<Connection>) {
        let mut slot = self.connections[index].lock().await;
        if slot
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(held, connection))
        {
            *slot = None;
        }
    }

    /// The upstream sessions opened so far, and news of later ones.
    pub(crate) fn opened(&self) -> watch::Receiver<Vec<Option<Arc<Connection>>>> {
        self.opened.subscribe()
    }

    /// The upstream session open now, if there is one.
    pub(crate) fn open_connection(&self, index: usize) -> Option<Arc<Connection>> {
        let opened = self.opened.borrow();
        opened[index]
            .clone()
            .filter(|connection| connection.is_open())
    }

    /// Upstream sessions open now.
    pub(crate) fn open_connections(&self) -> Vec<Arc<Connection>> {
        let opened = self.opened.borrow();
        let open = opened
            .iter()
            .flatten()
            .filter(|connection| connection.is_open());
        open.cloned().collect()
    }

    /// The log level that the client asked for.
    pub(crate) fn log_level(&self) -> Option<Box<str>> {
        self.log_level.lock().clone()
    }

    /// Remembers the log level for upstream sessions opened later; `true` when
    /// it is another than before.
    pub(crate) fn set_log_level(&self, level: &str) -> bool {
        let before = self.log_level.lock().replace(level.into());
        before.as_deref() != Some(level)
    }

    /// Registers a request until the guard is dropped, so that the client can
    /// cancel it by its id.
    pub(crate) fn begin(self: &Arc<Self>, client_id: &str, request: InFlight) -> RequestGuard {
        let upstream_id = request.upstream_id.as_str().into();
        self.in_flight.lock().insert(client_id.into(), request);
        self.touch();
        RequestGuard {
            session: Arc::clone(self),
            client_id: client_id.into(),
            upstream_id,
        }
    }

    /// The request that the client knows by this raw JSON id.
    pub(crate) fn in_flight(&self, client_id: &str) -> Option<InFlight> {
        self.in_flight.lock().get(client_id).cloned()
    }

    pub(crate) fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    /// Nothing under way or subscribed to, nobody listening, and unused for long enough.
    pub(crate) fn is_idle(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
            && self.opened.receiver_count() == 0
            && self.in_flight.lock().is_empty()
            && self.subscriptions.is_empty()
            && self.used.lock().elapsed() > self.idle
    }

    /// The client has ended it: nothing answers in it any more (invariant I12).
    pub(crate) fn delete(&self) {
        self.deleted.cancel();
        self.closed.cancel();
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.is_cancelled()
    }

    /// Waits until its client ends it.
    pub(crate) async fn deleted(&self) {
        self.deleted.cancelled().await;
    }

    /// Ends all upstream sessions and the standing stream.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        let open = self.open_connections();
        join_all(open.iter().map(|connection| connection.close())).await;
    }

    /// Waits for the session's end.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

/// A request under way; dropped, it is over.
pub(crate) struct RequestGuard {
    session: Arc<Session>,
    client_id: Box<str>,
    upstream_id: Box<str>,
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut in_flight = self.session.in_flight.lock();
        // A client that uses an id twice at once has put a later request there.
        if in_flight
            .get(&self.client_id)
            .is_some_and(|request| *request.upstream_id == *self.upstream_id)
        {
            in_flight.remove(&self.client_id);
        }
        drop(in_flight);
        self.session.touch();
    }
}
