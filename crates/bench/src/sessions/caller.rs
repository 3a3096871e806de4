//! The calls of one client, one at a time, and its session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::ledger::{Manner, SharedLedger};
use super::peer::Peer;
use crate::connection::EVENTS;
use crate::endpoint::Endpoint;
use crate::era::Era;
use crate::failure::Failure;
use crate::handshake::{INITIALIZE_ID, farewell, handshake, has_session};
use crate::message::Message;
use crate::sse::Position;
use crate::wire::Received;

/// How long a call may take.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// A client that is not told when to come back comes back after this.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// It comes back no sooner, whatever it is told.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What requests of one session have in common. A modern client has one that the
/// server knows nothing of, and that is never lost.
#[derive(Debug)]
pub(super) struct Session {
    headers: HeaderMap,
    is_lost: AtomicBool,
}

impl Session {
    pub(super) fn new(headers: HeaderMap) -> Self {
        Self {
            headers,
            is_lost: AtomicBool::new(false),
        }
    }

    /// Notes that the server knows it no more; whether that is news.
    pub(super) fn lose(&self) -> bool {
        !self.is_lost.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// The headers of a request that has `own` ones besides.
    pub(super) fn headers(&self, own: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.extend(own.clone());
        headers
    }

    /// The headers of a GET that goes on after `id`.
    pub(super) fn get(&self, id: Option<&str>) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, EVENTS);
        if let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        headers
    }
}

/// The session of the moment, for the client's stream.
pub(super) type Current = watch::Receiver<Option<Arc<Session>>>;

/// A client but for its stream.
#[derive(Debug)]
pub(super) struct Caller {
    peer: Peer,
    era: Era,
    session: watch::Sender<Option<Arc<Session>>>,
    last_id: u64,
    resumes: u64,
    ledger: SharedLedger,
}

impl Caller {
    pub(super) fn new(endpoint: Arc<Endpoint>, era: Era, ledger: SharedLedger) -> Self {
        let session = match era {
            Era::Legacy => None,
            Era::Modern => Some(Arc::new(Session::new(endpoint.headers(&HeaderMap::new())))),
        };
        Self {
            peer: Peer::new(endpoint),
            era,
            session: watch::Sender::new(session),
            last_id: INITIALIZE_ID,
            resumes: 0,
            ledger,
        }
    }

    pub(super) fn current(&self) -> Current {
        self.session.subscribe()
    }

    /// Sends `message` and gives its raw result to `use_result`.
    pub(super) async fn call<T>(
        &mut self,
        message: &Message,
        use_result: impl FnOnce(&str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.last_id += 1;
        let Ok(received) = timeout(LIMIT, self.converse(message)).await else {
            self.peer.leave();
            return Err(Failure::TimedOut);
        };
        received?.reply().with_result(self.last_id, use_result)
    }

    /// How the last call came by its answer.
    pub(super) fn manner(&mut self) -> Manner {
        Manner {
            retried: self.peer.take_retries() > 0,
            resumed: std::mem::take(&mut self.resumes) > 0,
        }
    }

    async fn converse(&mut self, message: &Message) -> Result<Received, Failure> {
        let session = self.session().await?;
        let received = self.post(&session, message).await?;
        let received = match resumable(self.era, &received) {
            Some(position) => self.resume(&session, position).await?,
            None => received.whole()?,
        };
        if self.era == Era::Legacy && received.status == StatusCode::NOT_FOUND {
            lose(&session, &self.ledger);
        }
        Ok(received)
    }

    async fn post(&mut self, session: &Session, message: &Message) -> Result<Received, Failure> {
        let endpoint = self.peer.endpoint().clone();
        let (headers, body) = (
            session.headers(message.headers()),
            message.with_id(self.last_id),
        );
        let request = || endpoint.request(Method::POST, headers.clone(), body.clone());
        let response = self.peer.ask(request).await?;
        Ok(Received::read(response, |_| false).await)
    }

    /// Goes on where the server let go, as often as it does.
    async fn resume(
        &mut self,
        session: &Session,
        mut position: Position,
    ) -> Result<Received, Failure> {
        self.resumes += 1;
        let endpoint = self.peer.endpoint().clone();
        loop {
            sleep(position.retry.unwrap_or(PAUSE).max(SHORTEST_PAUSE)).await;
            let headers = session.get(position.id.as_deref());
            let request = || endpoint.request(Method::GET, headers.clone(), Bytes::new());
            // A connection of its own: the stream may stay open after the answer.
            let mut peer = Peer::new(endpoint.clone());
            let response = match peer.ask(request).await {
                Err(failure) if failure.is_unheard() => continue,
                other => other?,
            };
            let received = Received::read(response, |reply| reply.has_answer()).await;
            match resumable(self.era, &received) {
                Some(further) => position = further,
                None if received.reply().has_answer() => return Ok(received),
                // Nothing but the head came: the same position holds.
                None if received.status == StatusCode::OK => {}
                None => return received.whole(),
            }
        }
    }

    /// The session, opened if there is none that the server knows.
    async fn session(&mut self) -> Result<Arc<Session>, Failure> {
        let known = self.session.borrow().clone();
        match known {
            Some(session) if !session.is_lost() => Ok(session),
            _ => self.open().await,
        }
    }

    /// Opens a session, with a second attempt as for any request.
    pub(super) async fn open(&mut self) -> Result<Arc<Session>, Failure> {
        let headers = match self.initialize().await {
            Err(failure) if failure.is_unheard() => {
                self.peer.start_over();
                self.initialize().await?
            }
            other => other?,
        };
        let session = Arc::new(Session::new(headers));
        self.session.send_replace(Some(session.clone()));
        self.ledger.lock().of(self.era).sessions.opened += 1;
        Ok(session)
    }

    async fn initialize(&mut self) -> Result<HeaderMap, Failure> {
        let endpoint = self.peer.endpoint().clone();
        let mut headers = endpoint.headers(&HeaderMap::new());
        let wire = self.peer.wire().await?;
        handshake(&endpoint, wire, &mut headers).await?;
        Ok(headers)
    }

    /// Ends the session, if the server knows one.
    pub(super) async fn farewell(&mut self) -> Result<(), Failure> {
        let known = self.session.borrow().clone();
        let Some(session) = known.filter(|it| has_session(&it.headers) && !it.is_lost()) else {
            return Ok(());
        };
        let endpoint = self.peer.endpoint().clone();
        let first = farewell(&endpoint, self.peer.wire().await?, &session.headers).await;
        let ended = match first {
            Err(failure) if failure.is_unheard() => {
                self.peer.leave();
                farewell(&endpoint, self.peer.wire().await?, &session.headers).await
            }
            other => other,
        };
        if ended.as_ref().is_err_and(Failure::is_session_lost) {
            lose(&session, &self.ledger);
        }
        ended
    }
}

/// Counts the loss of a session, once.
pub(super) fn lose(session: &Session, ledger: &SharedLedger) {
    if session.lose() {
        ledger.lock().of(Era::Legacy).sessions.lost += 1;
    }
}

/// Where to go on with a reply that is not complete: a legacy server says so.
fn resumable(era: Era, received: &Received) -> Option<Position> {
    let reply = received.reply();
    let is_open = era == Era::Legacy && reply.status == StatusCode::OK && reply.is_stream;
    if !is_open || reply.has_answer() {
        return None;
    }
    Some(Position::after(reply.body)).filter(|position| position.id.is_some())
}
