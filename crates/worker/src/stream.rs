//! A stream that outlives its connections: every message is kept for a while
//! before it is sent, and a client that comes back takes the reader's place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{EventId, ProtocolVersion, StreamId};
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::reply::{Flow, Reply};
use crate::transcript::{Noted, Transcript};

/// A client that lost its stream should wait this long before it asks for the
/// rest: by then a balancer knows that an edge is gone. The official SDKs give
/// up after two vain attempts.
pub(crate) const RETRY: Duration = Duration::from_secs(2);

/// What a revision has of "Resumability and Redelivery".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resumption {
    /// Nothing.
    No,
    /// Event ids.
    Ids,
    /// Also streams that begin and close at an id without a message (SEP-1699).
    Polling,
}

impl Resumption {
    pub(crate) fn of(version: ProtocolVersion) -> Self {
        match version {
            ProtocolVersion::V2024_11_05 | ProtocolVersion::V2026_07_28 => Self::No,
            ProtocolVersion::V2025_03_26 | ProtocolVersion::V2025_06_18 => Self::Ids,
            ProtocolVersion::V2025_11_25 => Self::Polling,
        }
    }
}

/// One stream, its last message and who reads it. The one who speaks on it
/// waits for the reader, and for nobody where there is none.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    resumption: Resumption,
    log: Arc<Transcript>,
    // Held while a message is on its way, so that each is sent once and in turn.
    seat: tokio::sync::Mutex<Seat>,
    /// Number of the last message; it grows under the seat's lock.
    seq: AtomicU64,
    // The reader's flow, to interrupt one that does not read.
    reader: Mutex<Option<Arc<Flow>>>,
    /// Clients that listen, or are about to.
    pub(crate) listeners: watch::Sender<usize>,
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct Seat {
    reply: Option<Reply>,
}

impl Stream {
    pub(crate) fn new(id: StreamId, resumption: Resumption, log: Arc<Transcript>) -> Self {
        Self::going_on(id.event(0), resumption, log)
    }

    /// One whose last message was this.
    pub(crate) fn going_on(
        position: EventId,
        resumption: Resumption,
        log: Arc<Transcript>,
    ) -> Self {
        Self {
            id: position.stream,
            resumption,
            log,
            seat: tokio::sync::Mutex::default(),
            seq: AtomicU64::new(position.seq),
            reader: Mutex::default(),
            listeners: watch::Sender::new(0),
            over: CancellationToken::new(),
        }
    }

    /// Says a message that is not the last.
    pub(crate) async fn say(&self, message: Bytes) {
        let mut seat = self.seat.lock().await;
        let (id, noted) = self.keep(&mut seat, &message, false);
        if !noted.stored().await {
            return;
        }
        if let Some(reply) = &mut seat.reply
            && !reply.event_at(message, id).await
        {
            seat.leave();
        }
    }

    /// Says the last message, once `heard` has had it kept where it may be asked for.
    pub(crate) async fn finish<F>(&self, message: Bytes, heard: impl FnOnce(EventId) -> F)
    where
        F: Future<Output = ()>,
    {
        let mut seat = self.seat.lock().await;
        let (id, noted) = self.keep(&mut seat, &message, true);
        if !noted.stored().await {
            return;
        }
        heard(self.position()).await;
        self.part(&mut seat, message, id).await;
    }

    /// Says the last message, which another owner has told and which is kept.
    pub(crate) async fn conclude(&self, id: EventId, message: Bytes) {
        let mut seat = self.seat.lock().await;
        let id = self.shown(id);
        self.part(&mut seat, message, id).await;
    }

    async fn part(&self, seat: &mut Seat, message: Bytes, id: String) {
        if let Some(reply) = seat.reply.take() {
            reply.finish_at(message, id).await;
        }
        self.over.cancel();
    }

    /// Ends without a last message; the client may find what is left of it.
    pub(crate) async fn end(&self) {
        self.close().await;
        self.over.cancel();
    }

    /// Lets the reader go at an id from which it may resume, while the stream
    /// goes on.
    pub(crate) async fn close(&self) {
        self.interrupt(None);
        let mut seat = self.seat.lock().await;
        let position = self.position();
        if let Some(reply) = &mut seat.reply {
            self.stand(reply, position);
        }
        seat.leave();
    }

    /// The last message.
    pub(crate) fn position(&self) -> EventId {
        self.id.event(self.seq.load(Ordering::Relaxed))
    }

    /// Sends the reader to the shard's new owner, where it goes on.
    pub(crate) async fn hand_over(&self) {
        if let Some(reply) = self.seat.lock().await.reply.take() {
            reply.reattach();
        }
    }

    /// Whether nothing more is said.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Whether a client that left can come back.
    pub(crate) fn is_resumable(&self) -> bool {
        self.resumption != Resumption::No
    }

    /// Takes the reader's place and hears first what was said behind
    /// `position`, by default the last message so far. The one who had it is let go: a message goes to one stream
    /// only (MCP transports, "Multiple Connections"), and it may be long dead.
    pub(crate) async fn attach(&self, mut reply: Reply, position: Option<EventId>) {
        self.interrupt(Some(Arc::clone(reply.flow())));
        let mut seat = self.seat.lock().await;
        let position = position.unwrap_or_else(|| self.position());
        seat.leave();
        self.stand(&mut reply, position);
        let missed = self.log.after(position);
        for said in missed {
            let id = self.shown(said.id);
            if said.last {
                return reply.finish_at(said.message, id).await;
            }
            if !reply.event_at(said.message, id).await {
                return reply.end(StatusCode::OK);
            }
        }
        match self.over.is_cancelled() {
            true => reply.end(StatusCode::OK),
            false => seat.reply = Some(reply),
        }
    }

    /// Waits until this reader left, lost its place, or has heard all.
    pub(crate) async fn listened(&self, flow: &Flow) {
        tokio::select! {
            () = self.over.cancelled() => {}
            () = flow.left() => {}
        }
    }

    /// Ends with `error`, unless it has ended, without waiting for a reader; `kept`: for
    /// one that comes back too.
    pub(crate) fn abandon(&self, error: &Bytes, kept: bool) {
        if self.over.is_cancelled() {
            return;
        }
        self.over.cancel();
        self.interrupt(None);
        // Who holds the seat sees that all is over.
        if let Ok(mut seat) = self.seat.try_lock() {
            let id = match kept {
                // There is nobody left who could wait until it is stored.
                true => self.keep(&mut seat, error, true).0,
                false => String::new(),
            };
            if let Some(reply) = seat.reply.take() {
                reply.end_with(error.clone(), id);
            }
        }
    }

    fn interrupt(&self, by: Option<Arc<Flow>>) {
        let former = std::mem::replace(&mut *self.reader.lock(), by);
        if let Some(former) = former {
            former.leave();
        }
    }

    /// Tells a reader where the stream stands, if its revision knows that.
    fn stand(&self, reply: &mut Reply, position: EventId) {
        match self.resumption {
            Resumption::Polling => reply.start_at(position.to_string(), RETRY),
            Resumption::No | Resumption::Ids => reply.start(),
        }
    }

    fn keep(&self, _: &mut Seat, message: &Bytes, last: bool) -> (String, Noted<'_>) {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let id = self.id.event(seq);
        let noted = match self.is_resumable() {
            true => self.log.note(id, message, last),
            false => Noted::default(),
        };
        (self.shown(id), noted)
    }

    fn shown(&self, id: EventId) -> String {
        match self.resumption {
            Resumption::No => String::new(),
            Resumption::Ids | Resumption::Polling => id.to_string(),
        }
    }
}

impl Seat {
    fn leave(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply.end(StatusCode::OK);
        }
    }
}
