//! What a session's streams have said lately: here, for a client that comes back, and in
//! the store, for one whose worker has died meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{EventId, StreamId};
use hexagram_store::Ticket;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ledger::SessionLedger;
use crate::replay::{LIMITS, Replay, Said};
use crate::saying::Saying;

/// A session's transcript; its streams share it.
#[derive(Debug)]
pub(crate) struct Transcript {
    replay: Mutex<Replay>,
    ledger: Option<Arc<SessionLedger>>,
}

/// A message that may be told once it is stored.
#[derive(Debug, Default)]
#[must_use = "a message is told after it was stored"]
pub(crate) struct Noted<'a>(Option<(&'a SessionLedger, Ticket)>);

impl Noted<'_> {
    /// Waits until the message is stored, or cannot be; whether it may be told.
    pub(crate) async fn stored(self) -> bool {
        match self.0 {
            Some((ledger, ticket)) => ledger.may_tell(ticket).await,
            None => true,
        }
    }
}

impl Transcript {
    pub(crate) fn new(ledger: Option<Arc<SessionLedger>>) -> Self {
        Self {
            replay: Mutex::new(Replay::new(LIMITS)),
            ledger,
        }
    }

    /// Takes a message down.
    pub(crate) fn note(&self, id: EventId, message: &Bytes, last: bool) -> Noted<'_> {
        let mut replay = self.replay.lock();
        let forgotten = replay.append(id, message.clone(), last, Instant::now());
        let ledger = self.ledger.as_deref();
        Noted(ledger.map(|ledger| {
            let said = Saying { id, message, last };
            (ledger, ledger.said(&said, forgotten))
        }))
    }

    /// Takes down what was said by another owner, `age` ago.
    pub(crate) fn restore(&self, id: EventId, message: Bytes, last: bool, age: Duration) {
        let now = Instant::now();
        let at = now.checked_sub(age).unwrap_or(now);
        self.replay.lock().append(id, message, last, at);
    }

    /// The messages of a stream behind a position, oldest first.
    pub(crate) fn after(&self, position: EventId) -> Vec<Said> {
        self.replay.lock().after(position)
    }

    /// Whether the last message of a stream is there.
    pub(crate) fn has_ended(&self, stream: StreamId) -> bool {
        let said = self.replay.lock().after(stream.event(0));
        said.iter().any(|said| said.last)
    }

    /// Looks at all messages, oldest first, with their age.
    pub(crate) fn all<T>(&self, look: impl Fn(&Said, Duration) -> T) -> Vec<T> {
        let replay = self.replay.lock();
        let all = replay.all(Instant::now());
        all.map(|(said, age)| look(said, age)).collect()
    }

    /// Drops what a stream has said.
    pub(crate) fn forget(&self, stream: StreamId) {
        let forgotten = self.replay.lock().forget(stream);
        self.unsay(forgotten);
    }

    /// Drops what is too old; whether nothing is left.
    pub(crate) fn expire(&self) -> bool {
        let (forgotten, is_empty) = {
            let mut replay = self.replay.lock();
            (replay.expire(Instant::now()), replay.is_empty())
        };
        self.unsay(forgotten);
        is_empty
    }

    fn unsay(&self, forgotten: Vec<EventId>) {
        if let Some(ledger) = &self.ledger {
            ledger.unsay(forgotten);
        }
    }
}
