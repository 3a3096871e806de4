//! What a worker holds for a client beyond its sealed id: the upstream
//! sessions opened for it and the requests under way.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hexagram_core::SessionKey;
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::facts::ClientFacts;
use crate::hearing::Ear;
use crate::ledger::SessionLedger;
use crate::missed::Missed;
use crate::streams::Streams;
use crate::subscriptions::Subscriptions;
use crate::task_names::TaskNames;
use crate::upstream::requests;
use crate::upstream::{Connection, Upstream, UpstreamError, UpstreamId};

/// A session with subscriptions and without a listener is kept this long unused.
const SUBSCRIBED_IDLE: Duration = Duration::from_secs(3600);

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

/// Where an upstream session is kept; the lock lets one caller open it while
/// others wait.
type Place = tokio::sync::Mutex<Option<Arc<Connection>>>;

/// An upstream session of a client.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) connection: Arc<Connection>,
}

/// One client's upstream sessions. Never shared between clients: sharing
/// would leak one client's state to another (DESIGN 5b).
pub(crate) struct Session {
    pub(crate) facts: ClientFacts,
    connections: Mutex<HashMap<UpstreamId, Arc<Place>>>,
    in_flight: Mutex<HashMap<Box<str>, InFlight>>,
    log_level: Mutex<Option<Box<str>>>,
    // Held until it is known whether what the client sets can be recorded.
    setting: tokio::sync::Mutex<()>,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) missed: Missed,
    opened: watch::Sender<Vec<Opened>>,
    used: Mutex<Instant>,
    idle: Duration,
    passing: bool,
    closed: CancellationToken,
    deleted: CancellationToken,
    pub(crate) streams: Streams,
    pub(crate) ear: Ear,
    pub(crate) tasks: TaskNames,
    pub(crate) recorded: Option<(SessionKey, Arc<SessionLedger>)>,
}

impl Session {
    /// `idle` is how long it is kept unused.
    pub(crate) fn new(facts: ClientFacts, idle: Duration, tasks: TaskNames) -> Self {
        Self {
            facts,
            connections: Mutex::default(),
            in_flight: Mutex::default(),
            log_level: Mutex::default(),
            setting: tokio::sync::Mutex::default(),
            subscriptions: Subscriptions::default(),
            missed: Missed::default(),
            opened: watch::Sender::new(Vec::new()),
            used: Mutex::new(Instant::now()),
            idle,
            passing: false,
            closed: CancellationToken::new(),
            deleted: CancellationToken::new(),
            streams: Streams::default(),
            ear: Ear::default(),
            tasks,
            recorded: None,
        }
    }

    /// A session whose state is stored, where there is a store.
    pub(crate) fn recorded_in(
        self,
        key: Option<SessionKey>,
        ledger: Option<Arc<SessionLedger>>,
    ) -> Self {
        Self {
            streams: Streams::of(ledger.clone()),
            recorded: key.zip(ledger),
            ..self
        }
    }

    /// Something that its next owner must know is different now.
    pub(crate) fn changed(&self) {
        if let Some((_, ledger)) = &self.recorded {
            ledger.changed();
        }
    }

    /// Nothing is held for it any more, so nothing is stored.
    pub(crate) fn forget_record(&self) {
        if let Some((_, ledger)) = &self.recorded {
            ledger.forget();
        }
    }

    /// Whether another process can go on with it.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded
            .as_ref()
            .is_some_and(|(_, ledger)| ledger.is_recorded())
    }

    /// Of one exchange, where nobody finds it again.
    pub(crate) fn passing(self) -> Self {
        Self {
            passing: true,
            ..self
        }
    }

    pub(crate) fn is_passing(&self) -> bool {
        self.passing
    }

    /// The upstream session, opened at first use.
    ///
    /// # Errors
    /// What kept it from being opened; the next call tries again.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        upstream: &Arc<Upstream>,
    ) -> Result<Arc<Connection>, UpstreamError> {
        let place = self.place(upstream).lock_owned().await;
        if let Some(connection) = place.as_ref().filter(|connection| connection.is_open()) {
            return Ok(Arc::clone(connection));
        }
        if upstream.is_retired() {
            return Err(UpstreamError::Removed);
        }
        let (this, upstream) = (Arc::clone(self), Arc::clone(upstream));
        // A task of its own: who gives up leaves what was opened to the others.
        tokio::spawn(async move { this.open_in(place, upstream).await })
            .await
            .unwrap_or_else(|error| Err(UpstreamError::Unreachable(error.to_string())))
    }

    async fn open_in(
        &self,
        mut place: OwnedMutexGuard<Option<Arc<Connection>>>,
        upstream: Arc<Upstream>,
    ) -> Result<Arc<Connection>, UpstreamError> {
        let connection = Arc::new(upstream.open(&self.facts).await?);
        // It is there anyway; what was asked of the old one is asked again.
        let _ = tokio::time::timeout(RESTORE, self.restore(&upstream, &connection)).await;
        *place = Some(Arc::clone(&connection));
        self.note(&upstream, &connection);
        if self.closed.is_cancelled() || upstream.is_retired() {
            // Closed while it was opened: the closing may have missed it.
            connection.close().await;
        }
        Ok(connection)
    }

    fn place(&self, upstream: &Upstream) -> Arc<Place> {
        let mut connections = self.connections.lock();
        Arc::clone(connections.entry(upstream.id()).or_default())
    }

    fn note(&self, upstream: &Arc<Upstream>, connection: &Arc<Connection>) {
        self.opened.send_modify(|all| {
            all.retain(|opened| opened.upstream.id() != upstream.id());
            all.push(Opened {
                upstream: Arc::clone(upstream),
                connection: Arc::clone(connection),
            });
        });
        self.changed();
    }

    /// Ends the session with an upstream that is served no more.
    pub(crate) async fn leave(&self, upstream: &Upstream) {
        let id = upstream.id();
        self.connections.lock().remove(&id);
        self.subscriptions.forget(id);
        self.missed.take(id);
        let is_left = |opened: &Opened| opened.upstream.id() == id;
        let left: Vec<_> = {
            let opened = self.opened.borrow();
            opened
                .iter()
                .filter(|opened| is_left(opened))
                .cloned()
                .collect()
        };
        if !left.is_empty() {
            self.opened
                .send_modify(|all| all.retain(|opened| !is_left(opened)));
        }
        self.changed();
        join_all(left.iter().map(|opened| opened.connection.close())).await;
    }

    /// Tells a new upstream session what the client had asked of the old one.
    async fn restore(&self, upstream: &Upstream, connection: &Connection) {
        let level = self.log_level().map(|level| requests::set_level(&level));
        let resources = self.subscriptions.of(upstream.id());
        let subscribe = resources.iter().map(|uri| requests::subscribe(uri));
        for request in level.into_iter().chain(subscribe) {
            if let Err(error) = request.ask(connection).await {
                tracing::debug!(%error, "not restored at a new upstream session");
            }
        }
    }

    /// Forgets an upstream session that the upstream has forgotten.
    pub(crate) async fn forget(&self, upstream: &Upstream, connection: &Arc<Connection>) {
        let place = self.place(upstream);
        let mut place = place.lock().await;
        if place
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(held, connection))
        {
            *place = None;
        }
    }

    /// The upstream sessions opened so far, and news of later ones.
    pub(crate) fn opened(&self) -> watch::Receiver<Vec<Opened>> {
        self.opened.subscribe()
    }

    /// The upstream session open now, if there is one.
    pub(crate) fn open_connection(&self, upstream: UpstreamId) -> Option<Arc<Connection>> {
        self.open(|known| known.id() == upstream).pop()
    }

    /// Upstream sessions open now.
    pub(crate) fn open_connections(&self) -> Vec<Arc<Connection>> {
        self.open(|_| true)
    }

    /// Those with upstreams of this name.
    pub(crate) fn open_connections_with(&self, name: &str) -> Vec<Arc<Connection>> {
        self.open(|upstream| upstream.name() == name)
    }

    fn open(&self, which: impl Fn(&Upstream) -> bool) -> Vec<Arc<Connection>> {
        let opened = self.opened.borrow();
        let open = opened
            .iter()
            .filter(|opened| which(&opened.upstream) && opened.connection.is_open());
        open.map(|opened| Arc::clone(&opened.connection)).collect()
    }

    /// The log level that the client asked for.
    pub(crate) fn log_level(&self) -> Option<Box<str>> {
        self.log_level.lock().clone()
    }

    /// Remembers the log level for upstream sessions opened later; `true` when
    /// it is another than before.
    pub(crate) fn set_log_level(&self, level: Option<&str>) -> bool {
        let level = level.map(Box::from);
        let before = std::mem::replace(&mut *self.log_level.lock(), level.clone());
        let is_new = before != level;
        if is_new {
            self.changed();
        }
        is_new
    }

    /// Lets one setting of the client at a time be made and recorded, so that one that
    /// cannot be recorded is taken back to what held before.
    pub(crate) async fn setting(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.setting.lock().await
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

    /// The client's ids of the requests under way.
    pub(crate) fn under_way(&self) -> Vec<String> {
        self.in_flight
            .lock()
            .keys()
            .map(|id| id.to_string())
            .collect()
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.in_flight.lock().is_empty()
    }

    /// The upstream sessions open now.
    pub(crate) fn opened_now(&self) -> Vec<Opened> {
        let opened = self.opened.borrow();
        let open = opened.iter().filter(|opened| opened.connection.is_open());
        open.cloned().collect()
    }

    /// Waits until the upstream sessions that are being opened are open, or not.
    pub(crate) async fn settled(&self) {
        let places: Vec<_> = self.connections.lock().values().cloned().collect();
        for place in places {
            drop(place.lock().await);
        }
    }

    /// Goes on with an upstream session that another owner has opened.
    pub(crate) fn adopt(&self, upstream: &Arc<Upstream>, connection: &Arc<Connection>) {
        let place = Arc::new(Place::new(Some(Arc::clone(connection))));
        self.connections.lock().insert(upstream.id(), place);
        self.note(upstream, connection);
    }

    pub(crate) fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    /// Nothing under way, nobody listening, and unused for long enough: longer
    /// where something is subscribed to, for the client may come back to hear of it.
    pub(crate) fn is_idle(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
            && self.opened.receiver_count() == 0
            && self.in_flight.lock().is_empty()
            && self.used.lock().elapsed() > self.patience()
    }

    fn patience(&self) -> Duration {
        match self.subscriptions.is_empty() {
            true => self.idle,
            false => self.idle.max(SUBSCRIBED_IDLE),
        }
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
