//! The worker's side of an exchange: what goes back to the client, within the
//! credit that its edge granted.

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Era, WorkerId};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{
    End, Event, Head, Misdirected, Reattach, Start, WorkerMessage, worker_message,
};
use hexagram_proto::{CHUNK_BYTES, Outbox, Window, chunks};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::Refusals;
use crate::successor::Successor;

/// What is left to do after an exchange was admitted, for a task of its own.
pub(crate) type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A JSON-RPC response.
pub(crate) fn response(id: &str, result: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(result.len() + id.len() + 40);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#","result":"#);
    out.extend_from_slice(result);
    out.push(b'}');
    Bytes::from(out)
}

/// The shard was taken from this worker while the call ran.
pub(crate) fn deposed() -> Problem {
    Problem::OutcomeUnknown {
        detail: "another worker serves this client now".to_owned(),
        upstream: None,
    }
}

/// What the edge tells about an exchange while it runs.
#[derive(Debug)]
pub(crate) struct Flow {
    window: Mutex<Window>,
    gone: AtomicBool,
    revoked: AtomicBool,
    deposed: AtomicBool,
    changed: Notify,
}

impl Flow {
    fn new(credit: u32) -> Self {
        Self {
            window: Mutex::new(Window::new(credit)),
            gone: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
            deposed: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// More may be sent.
    pub(crate) fn grant(&self, bytes: u32) {
        self.window.lock().grant(bytes);
        self.changed.notify_waiters();
    }

    /// The client is not there any more.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The session was deleted: an exchange dropped unanswered says so.
    pub(crate) fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    /// The shard is another's now: an exchange dropped unanswered says that
    /// nobody knows what became of it.
    pub(crate) fn depose(&self) {
        self.deposed.store(true, Ordering::Release);
    }

    /// What to say of an exchange that was dropped unanswered.
    fn dropped(&self) -> Problem {
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        match (is(&self.revoked), is(&self.deposed)) {
            (true, _) => Problem::SessionNotFound,
            (false, true) => deposed(),
            (false, false) => Problem::Internal,
        }
    }

    /// Whether the client left.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Waits until the client left.
    pub(crate) async fn left(&self) {
        self.wait(|| self.is_gone().then_some(())).await;
    }

    /// Waits for credit; `false` when the client left instead.
    async fn credit(&self, bytes: usize) -> bool {
        self.wait(|| match self.is_gone() {
            true => Some(false),
            false => self.window.lock().take(bytes).then_some(true),
        })
        .await
    }

    async fn wait<T>(&self, ready: impl Fn() -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(value) = ready() {
                return value;
            }
            changed.await;
        }
    }
}

/// Answers one exchange. Dropped unanswered (a panic on its way), it answers
/// with an internal error: an exchange never ends in silence.
#[derive(Debug)]
pub(crate) struct Reply {
    number: u64,
    outbox: Outbox<WorkerMessage>,
    flow: Arc<Flow>,
    /// Raw JSON id of the client's request.
    id: Option<Box<str>>,
    era: Era,
    started: bool,
    done: bool,
    refusals: Refusals,
}

impl Reply {
    pub(crate) fn new(
        number: u64,
        credit: u32,
        outbox: Outbox<WorkerMessage>,
        refusals: Refusals,
    ) -> Self {
        Self {
            number,
            outbox,
            flow: Arc::new(Flow::new(credit)),
            id: None,
            era: Era::Legacy,
            started: false,
            done: false,
            refusals,
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Remembers the request's id, for errors.
    pub(crate) fn set_id(&mut self, id: &str) {
        self.id = Some(id.into());
    }

    /// The client's era: it decides the HTTP status of some errors.
    pub(crate) fn set_era(&mut self, era: Era) {
        self.era = era;
    }

    /// The request's raw id; `null` where there was none.
    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or("null")
    }

    /// Begins a stream whose first message is not there yet.
    pub(crate) fn start(&mut self) {
        self.start_at(String::new(), Duration::ZERO);
    }

    /// Begins a stream, or says where it stands: the client may come back with
    /// this event id, after `retry`.
    pub(crate) fn start_at(&mut self, event_id: String, retry: Duration) {
        self.started = true;
        self.push(worker_message::Kind::Start(Start {
            exchange: self.number,
            event_id,
            retry_ms: u32::try_from(retry.as_millis()).unwrap_or(u32::MAX),
        }));
    }

    /// Sends a message that is not the last. Waits while the client's credit
    /// is used up; `false` when the client left, and the message was dropped.
    pub(crate) async fn event(&mut self, message: Bytes) -> bool {
        self.event_at(message, String::new()).await
    }

    /// As [`Self::event`], under an event id.
    pub(crate) async fn event_at(&mut self, message: Bytes, id: String) -> bool {
        self.send(message, false, None, id).await
    }

    /// Sends the last message.
    pub(crate) async fn finish(self, message: Bytes) {
        self.finish_with(message, None, String::new()).await;
    }

    /// Sends the last message; a reply that consists of it has this status.
    pub(crate) async fn conclude(self, message: Bytes, status: http::StatusCode) {
        let head = (!self.started && status != http::StatusCode::OK).then(|| Head {
            status: u32::from(status.as_u16()),
            ..Head::default()
        });
        self.finish_with(message, head, String::new()).await;
    }

    /// As [`Self::finish`], under an event id.
    pub(crate) async fn finish_at(self, message: Bytes, id: String) {
        self.finish_with(message, None, id).await;
    }

    /// Sends the last message without waiting for its reader.
    pub(crate) fn end_with(mut self, message: Bytes, id: String) {
        self.done = true;
        self.push_event(message, false, true, None, id);
    }

    async fn finish_with(mut self, message: Bytes, head: Option<Head>, id: String) {
        self.send(message, true, head, id).await;
        self.done = true;
    }

    /// Sends the only message: at once where it is short, else in a task, at
    /// the pace of its reader.
    #[must_use]
    pub(crate) fn answer(mut self, message: Bytes, head: Option<Head>) -> Option<Run> {
        if message.len() > CHUNK_BYTES {
            return Some(Box::pin(self.finish_with(message, head, String::new())));
        }
        self.done = true;
        self.push_event(message, false, true, head, String::new());
        None
    }

    /// Ends the exchange with an error.
    pub(crate) fn refuse(mut self, problem: &Problem) {
        self.fail(problem);
    }

    /// Ends a stream whose request was cancelled: it gets no response.
    pub(crate) fn end_unanswered(mut self) {
        if !self.started {
            self.start();
        }
        self.end(http::StatusCode::OK);
    }

    /// Ends the exchange without a message.
    pub(crate) fn end(mut self, status: http::StatusCode) {
        self.done = true;
        self.push(worker_message::Kind::End(End {
            exchange: self.number,
            head: Some(Head {
                status: u32::from(status.as_u16()),
                ..Head::default()
            }),
        }));
    }

    /// Tells the edge that the shard is not served here in that epoch, and who
    /// serves it.
    pub(crate) fn misdirected(self, shard: u32, known: Option<&Successor>) {
        self.turn_away(Misdirected {
            shard,
            epoch: known.map_or(0, |known| known.epoch.get()),
            to: known
                .map(|known| known.worker.to_string())
                .unwrap_or_default(),
            ..Misdirected::default()
        });
    }

    /// Tells the edge that the shard is frozen and where it moves to.
    pub(crate) fn moving(self, shard: u32, epoch: u64, to: &WorkerId) {
        self.turn_away(Misdirected {
            shard,
            epoch,
            to: to.to_string(),
            moving: true,
            ..Misdirected::default()
        });
    }

    fn turn_away(mut self, misdirected: Misdirected) {
        self.done = true;
        self.refusals.count_misdirected();
        self.push(worker_message::Kind::Misdirected(Misdirected {
            exchange: self.number,
            ..misdirected
        }));
    }

    /// Ends a standing stream here: its edge opens it again at the shard's new owner.
    pub(crate) fn reattach(mut self) {
        self.done = true;
        self.push(worker_message::Kind::Reattach(Reattach {
            exchange: self.number,
        }));
    }

    fn fail(&mut self, problem: &Problem) {
        self.done = true;
        self.refusals.count(problem);
        let head = (!self.started).then(|| Head {
            status: u32::from(problem.http_status_in(self.era).as_u16()),
            retry_after_ms: problem
                .retry_after_ms()
                .and_then(|ms| u32::try_from(ms).ok())
                .unwrap_or_default(),
            ..Head::default()
        });
        let body = problem.body(self.id.as_deref());
        self.push_event(body, false, true, head, String::new());
    }

    async fn send(
        &mut self,
        message: Bytes,
        last: bool,
        mut head: Option<Head>,
        mut id: String,
    ) -> bool {
        for (data, more) in chunks(message) {
            if !self.flow.credit(data.len()).await {
                return false;
            }
            self.push_event(data, more, last, head.take(), std::mem::take(&mut id));
        }
        true
    }

    fn push_event(
        &mut self,
        data: Bytes,
        more: bool,
        last: bool,
        head: Option<Head>,
        event_id: String,
    ) {
        self.started = true;
        self.push(worker_message::Kind::Event(Event {
            exchange: self.number,
            data,
            more,
            last,
            head,
            event_id,
        }));
    }

    fn push(&self, kind: worker_message::Kind) {
        // A closed link has lost its clients; there is nobody to tell.
        let _ = self.outbox.push(WorkerMessage { kind: Some(kind) });
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // A client that left minds no error, and it is none of ours.
        if !self.done && !self.flow.is_gone() {
            self.fail(&self.flow.dropped());
        }
    }
}
