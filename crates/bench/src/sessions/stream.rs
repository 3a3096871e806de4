//! The stream that a client holds: a legacy session's standing stream, or a modern
//! subscription. When it ends it is opened again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::caller::{Current, LIMIT, PAUSE, SHORTEST_PAUSE, Session, lose};
use super::ledger::{End, SharedLedger};
use super::peer::Peer;
use crate::endpoint::Endpoint;
use crate::era::Era;
use crate::failure::Failure;
use crate::message::Message;
use crate::sse::{Position, Reader};
use crate::wire::{Received, is_stream};

/// A subscription that was completed is opened again after this.
const COMPLETED_PAUSE: Duration = Duration::from_millis(100);
/// Ids of subscriptions; those of calls are below.
const FIRST_ID: u64 = 1_000_000_000;

/// A client's stream.
pub(super) struct Standing {
    endpoint: Arc<Endpoint>,
    era: Era,
    current: Current,
    ledger: SharedLedger,
    last_id: u64,
    /// Where the stream of `session` ended.
    position: Position,
    session: Option<Arc<Session>>,
    ended: Option<Instant>,
}

/// A stream that did not open.
enum Refused {
    /// The server has none.
    NotOffered,
    Failed(Failure),
}

impl Standing {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        era: Era,
        current: Current,
        ledger: SharedLedger,
    ) -> Self {
        Self {
            endpoint,
            era,
            current,
            ledger,
            last_id: FIRST_ID,
            position: Position::default(),
            session: None,
            ended: None,
        }
    }

    /// Holds a stream until the task is aborted, or none is offered. `tried` hears of
    /// the first attempt, also where there is no session yet.
    pub(super) async fn run(mut self, tried: oneshot::Sender<()>) {
        let mut tried = Some(tried);
        loop {
            if self.current.borrow().is_none() {
                tried.take();
            }
            let Some(session) = self.next_session().await else {
                return;
            };
            let opened = timeout(LIMIT, self.open(&session)).await;
            tried.take();
            match opened.unwrap_or(Err(Refused::Failed(Failure::TimedOut))) {
                Ok(body) => self.hold(body).await,
                Err(Refused::NotOffered) => {
                    self.ledger.lock().of(self.era).streams.not_offered += 1;
                    return;
                }
                Err(Refused::Failed(failure)) => self.fail(&session, failure).await,
            }
        }
    }

    /// The session that the server knows; waits for one. None when the client is gone.
    async fn next_session(&mut self) -> Option<Arc<Session>> {
        let is_known =
            |it: &Option<Arc<Session>>| it.as_ref().is_some_and(|session| !session.is_lost());
        let session = self.current.wait_for(is_known).await.ok()?.clone()?;
        let is_same = |known: &Arc<Session>| Arc::ptr_eq(known, &session);
        if !self.session.as_ref().is_some_and(is_same) {
            self.position = Position::default();
            self.session = Some(session.clone());
        }
        Some(session)
    }

    async fn open(&mut self, session: &Session) -> Result<Incoming, Refused> {
        let request = match self.era {
            Era::Legacy => {
                let headers = session.get(self.position.id.as_deref());
                self.endpoint.request(Method::GET, headers, Bytes::new())
            }
            Era::Modern => {
                let listen = listen().map_err(|_| Refused::NotOffered)?;
                self.last_id += 1;
                let headers = session.headers(listen.headers());
                let body = listen.with_id(self.last_id);
                self.endpoint.request(Method::POST, headers, body)
            }
        };
        let mut peer = Peer::new(self.endpoint.clone());
        let response = peer.ask(|| request.clone()).await;
        let response = response.map_err(Refused::Failed)?;
        if response.status() == StatusCode::OK && is_stream(response.headers()) {
            return Ok(response.into_body());
        }
        let received = Received::read(response, |_| false).await;
        Err(refused(self.era, received.reply().refusal()))
    }

    /// Reads a stream to its end and waits until it may be opened again.
    async fn hold(&mut self, body: Incoming) {
        let gap = self.ended.map(|ended| ended.elapsed());
        self.ledger.lock().of(self.era).streams.open(gap);
        let (end, pause) = self.read(body).await;
        self.ended = Some(Instant::now());
        self.ledger.lock().of(self.era).streams.end(end);
        sleep(pause.max(SHORTEST_PAUSE)).await;
    }

    async fn read(&mut self, mut body: Incoming) -> (End, Duration) {
        let mut reader = Reader::default();
        let mut is_completed = false;
        let is_broken = loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    let data = reader.take(&frame.into_data().unwrap_or_default());
                    is_completed |= data.iter().any(|data| completes(data, self.last_id));
                }
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        let reached = reader.position();
        self.position.id = reached.id.or(self.position.id.take());
        self.position.retry = reached.retry.or(self.position.retry);
        match (self.era, is_broken) {
            (Era::Legacy, false) if self.position.id.is_some() => {
                (End::Resumably, self.position.retry.unwrap_or(PAUSE))
            }
            (Era::Modern, _) if is_completed => (End::Resumably, COMPLETED_PAUSE),
            _ => (End::Broken, self.position.retry.unwrap_or(PAUSE)),
        }
    }

    /// Counts an attempt that failed, and waits before the next.
    async fn fail(&mut self, session: &Session, failure: Failure) {
        if self.era == Era::Legacy && failure.is_session_lost() {
            // The client opens another with its next call.
            lose(session, &self.ledger);
            return;
        }
        if matches!(failure, Failure::Refused { .. }) {
            // Perhaps for the place where the stream was to go on.
            self.position.id = None;
        }
        self.ledger.lock().of(self.era).streams.fail(failure);
        sleep(PAUSE).await;
    }
}

fn listen() -> anyhow::Result<Message> {
    let changes = json!({
        "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
    });
    let params = json!({ "notifications": changes });
    Message::new(Era::Modern, "subscriptions/listen", params)
}

/// Servers need not offer streams: 405, or in the modern era an unknown method.
fn refused(era: Era, failure: Failure) -> Refused {
    match (era, &failure) {
        (_, Failure::Refused { status: 405, .. })
        | (
            Era::Modern,
            Failure::Refused {
                code: Some(-32601), ..
            },
        ) => Refused::NotOffered,
        _ => Refused::Failed(failure),
    }
}

#[derive(Deserialize)]
struct Completion {
    id: u64,
    #[serde(rename = "result")]
    _result: serde::de::IgnoredAny,
}

/// Whether this is the answer to subscription `id`: it ended in good order.
fn completes(data: &[u8], id: u64) -> bool {
    serde_json::from_slice::<Completion>(data).is_ok_and(|completion| completion.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_completed_by_its_own_result() {
        let result = br#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete"}}"#;
        assert!(completes(result, 7));
        assert!(!completes(result, 8));
        assert!(!completes(br#"{"method":"notifications/cancelled"}"#, 7));
        assert!(!completes(br#"{"id":7,"error":{"code":-32603}}"#, 7));
    }
}
