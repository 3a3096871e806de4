//! Who waits for what in one session, and what nobody has read yet.
//!
//! Nothing here waits: a reader that is too slow loses chatter first and its
//! call next, never the other readers' time.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hexagram_mcp::envelope::{Envelope, Kind};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, OwnedPermit};

use super::super::{CLOSE_STREAM, UpstreamError, unread};

/// Messages that wait for one reader, beside its last.
pub(super) const QUEUE: usize = 256;
/// Messages kept while nobody reads.
pub(super) const BACKLOG: usize = 16;

// A new reader's queue takes the whole backlog.
const _: () = assert!(BACKLOG <= QUEUE);

/// What a reader gets.
pub(super) type Item = Result<Bytes, UpstreamError>;

/// Who reads what comes for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Audience {
    /// Hexagram: it refuses what the upstream asks meanwhile.
    Ourselves,
    /// A client.
    Client,
}

/// The messages for one reader.
#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<Item>,
    /// A place kept free from the start: a response, or the reason why there
    /// is none, finds room behind any number of notifications.
    last: OwnedPermit<Item>,
}

impl Queue {
    fn new() -> (Self, mpsc::Receiver<Item>) {
        let (sender, receiver) = mpsc::channel(QUEUE + 1);
        let last = sender.clone().try_reserve_owned();
        let last = last.expect("a new channel has room and a receiver");
        (Self { sender, last }, receiver)
    }

    fn end(self, last: Item) {
        self.last.send(last);
    }
}

/// A request that waits for its response.
#[derive(Debug)]
struct Call {
    id: Box<str>,
    audience: Audience,
    queue: Queue,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Standing,
    Call(u64),
}

/// Who waits for what. Requests are ordered by age.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    calls: BTreeMap<u64, Call>,
    next: u64,
    standing: Option<Queue>,
    backlog: VecDeque<Bytes>,
    closed: bool,
}

impl Waiting {
    /// A new request's key and queue; none once the session is over.
    pub(super) fn begin(
        &mut self,
        id: &str,
        audience: Audience,
    ) -> Option<(u64, mpsc::Receiver<Item>)> {
        if self.closed {
            return None;
        }
        let (queue, receiver) = Queue::new();
        if audience == Audience::Client {
            self.hand_over(&queue);
        }
        self.next += 1;
        let call = Call {
            id: id.into(),
            audience,
            queue,
        };
        self.calls.insert(self.next, call);
        Some((self.next, receiver))
    }

    /// Nobody waits for this request any more.
    pub(super) fn forget(&mut self, key: u64) {
        self.calls.remove(&key);
    }

    /// A new standing reader, in place of the former.
    pub(super) fn stand(&mut self) -> mpsc::Receiver<Item> {
        let (queue, receiver) = Queue::new();
        if !self.closed {
            self.hand_over(&queue);
            self.standing = Some(queue);
        }
        receiver
    }

    /// Ends all readers.
    pub(super) fn close(&mut self) {
        *self = Self {
            closed: true,
            ..Self::default()
        };
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Gives a message to its reader. What comes back is for the upstream: the
    /// answer to a request that no client can be asked.
    pub(super) fn sort(&mut self, message: &Bytes, envelope: &Envelope<'_>) -> Option<Bytes> {
        if envelope.kind.is_response() {
            let id = envelope.id.as_ref().map(|id| id.as_str());
            self.respond(id.unwrap_or_default(), message.clone());
            return None;
        }
        while let Some(place) = self.place(envelope) {
            match self.offer(place, message.clone()) {
                Ok(()) => return None,
                Err(TrySendError::Full(_)) if is_chatter(envelope) => return dropped(envelope),
                // A reader that left does not hear of it.
                Err(_) => self.end(place, UpstreamError::TooSlow),
            }
        }
        self.keep(message.clone(), envelope)
    }

    fn respond(&mut self, id: &str, message: Bytes) {
        let key = self.by_id(id);
        match key.and_then(|key| self.calls.remove(&key)) {
            Some(call) => call.queue.end(Ok(message)),
            None => tracing::debug!(id, "dropped an upstream's response that nobody waits for"),
        }
    }

    fn by_id(&self, id: &str) -> Option<u64> {
        let mut calls = self.calls.iter();
        calls.find(|(_, call)| *call.id == *id).map(|(key, _)| *key)
    }

    /// Where a message goes that is no response: what names a request to it;
    /// questions and log messages to the client's newest request, whose work
    /// they most likely belong to; the rest to the standing stream; and each to
    /// the other place where there is none of the first.
    fn place(&self, envelope: &Envelope<'_>) -> Option<Place> {
        if let Some(token) = &envelope.progress_token {
            return self.by_id(token.as_str()).map(Place::Call);
        }
        if envelope.method.as_deref() == Some(CLOSE_STREAM) {
            let request = envelope.request_id.as_ref()?;
            return self.by_id(request.as_str()).map(Place::Call);
        }
        let of_a_call = envelope.kind == Kind::Request || is_chatter(envelope);
        let asked = self.asked_by_a_client();
        if self.standing.is_some() && !(of_a_call && asked) {
            return Some(Place::Standing);
        }
        let newest = self
            .calls
            .iter()
            .max_by_key(|(key, call)| (call.audience, **key));
        newest.map(|(key, _)| Place::Call(*key))
    }

    /// Whether a client waits for a response.
    fn asked_by_a_client(&self) -> bool {
        let mut calls = self.calls.values();
        calls.any(|call| call.audience == Audience::Client)
    }

    fn offer(&self, place: Place, message: Bytes) -> Result<(), TrySendError<Item>> {
        let queue = match place {
            Place::Standing => self.standing.as_ref(),
            Place::Call(key) => self.calls.get(&key).map(|call| &call.queue),
        };
        match queue {
            Some(queue) => queue.sender.try_send(Ok(message)),
            None => Err(TrySendError::Closed(Ok(message))),
        }
    }

    fn end(&mut self, place: Place, why: UpstreamError) {
        let queue = match place {
            Place::Standing => self.standing.take(),
            Place::Call(key) => self.calls.remove(&key).map(|call| call.queue),
        };
        if let Some(queue) = queue {
            queue.end(Err(why));
        }
    }

    /// Keeps a message for the next reader while there is room.
    fn keep(&mut self, message: Bytes, envelope: &Envelope<'_>) -> Option<Bytes> {
        // It concerns a request that is over.
        let is_late =
            envelope.progress_token.is_some() || envelope.method.as_deref() == Some(CLOSE_STREAM);
        if is_late || self.backlog.len() == BACKLOG {
            return dropped(envelope);
        }
        self.backlog.push_back(message);
        None
    }

    fn hand_over(&mut self, queue: &Queue) {
        for message in self.backlog.drain(..) {
            // A new queue has room for all of it.
            let _ = queue.sender.try_send(Ok(message));
        }
    }
}

/// Notifications that a slow reader can do without.
fn is_chatter(envelope: &Envelope<'_>) -> bool {
    matches!(
        envelope.method.as_deref(),
        Some("notifications/message" | "notifications/progress")
    )
}

/// What the upstream is told of a message that nobody gets.
fn dropped(envelope: &Envelope<'_>) -> Option<Bytes> {
    let method = envelope.method.as_deref();
    tracing::debug!(method, "dropped an upstream's message that nobody reads");
    unread::answer(envelope)
}
