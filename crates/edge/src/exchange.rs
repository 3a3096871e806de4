//! One exchange as its edge sees it: what the worker sent and the client has
//! not read yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hexagram_mcp::error::Problem;
use hexagram_proto::Consumed;
use hexagram_proto::link::{Head, Misdirected};
use parking_lot::Mutex;

use crate::link::Link;

/// What the worker says on an exchange.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A stream begins.
    Start,
    /// A JSON-RPC message or a part of it.
    Event(Piece),
    /// The exchange is over, without a further message.
    End(Head),
    /// The worker does not serve the shard.
    Misdirected(Misdirected),
    /// Nothing has come for a keep-alive's time.
    Quiet,
    /// The rest will never come.
    Lost(Loss),
}

/// Why an exchange was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The link to the worker broke.
    Worker,
    /// This edge has drained for as long as it may.
    Edge,
}

impl Incoming {
    /// Whether nothing follows on the exchange.
    pub(crate) fn ends(&self) -> bool {
        match self {
            Self::Start | Self::Quiet => false,
            Self::Event(piece) => piece.last && !piece.more,
            Self::End(_) | Self::Misdirected(_) | Self::Lost(_) => true,
        }
    }
}

/// A part of a message to the client.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) data: Bytes,
    /// The message goes on in the next piece.
    pub(crate) more: bool,
    /// The message is the exchange's last.
    pub(crate) last: bool,
    pub(crate) head: Option<Head>,
}

/// Where the link's reader leaves what arrives for one exchange.
///
/// Bounded by the exchange's credit: a worker sends no more than was granted.
#[derive(Debug, Default)]
pub(crate) struct Slot(Mutex<SlotState>);

#[derive(Debug, Default)]
struct SlotState {
    // Most exchanges get one message; it needs no queue.
    first: Option<Incoming>,
    rest: VecDeque<Incoming>,
    waker: Option<Waker>,
    // Seconds without a message, counted by the edge's one clock: a timer for
    // each exchange would cost more than the rest of its bookkeeping.
    quiet: u64,
    quiet_due: bool,
}

impl Slot {
    pub(crate) fn put(&self, incoming: Incoming) {
        let mut state = self.0.lock();
        if state.first.is_none() && state.rest.is_empty() {
            state.first = Some(incoming);
        } else {
            state.rest.push_back(incoming);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A second has passed; after `keep_alive` quiet ones the client's side
    /// is told.
    pub(crate) fn tick(&self, keep_alive: u64) {
        let mut state = self.0.lock();
        state.quiet += 1;
        if state.quiet < keep_alive {
            return;
        }
        state.quiet = 0;
        state.quiet_due = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut state = self.0.lock();
        let next = state.first.take().or_else(|| state.rest.pop_front());
        if let Some(incoming) = next {
            state.quiet = 0;
            state.quiet_due = false;
            return Poll::Ready(incoming);
        }
        if std::mem::take(&mut state.quiet_due) {
            return Poll::Ready(Incoming::Quiet);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The client's side of an exchange. Dropped before its end, it tells the
/// worker that the client left.
#[derive(Debug)]
pub(crate) struct Exchange {
    link: Arc<Link>,
    number: u64,
    slot: Arc<Slot>,
    consumed: Consumed,
    ended: bool,
}

impl Exchange {
    pub(crate) fn new(link: Arc<Link>, number: u64, slot: Arc<Slot>) -> Self {
        Self {
            link,
            number,
            slot,
            consumed: Consumed::default(),
            ended: false,
        }
    }

    /// The next thing the worker says; nothing follows the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let incoming = std::task::ready!(self.slot.poll(cx));
        if incoming.ends() {
            self.ended = true;
        } else if let Incoming::Event(piece) = &incoming {
            self.consume(piece.data.len());
        }
        Poll::Ready(incoming)
    }

    pub(crate) async fn next(&mut self) -> Incoming {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn consume(&mut self, bytes: usize) {
        if let Some(grant) = self.consumed.add(bytes) {
            self.link.grant(self.number, grant);
        }
    }

    /// What to tell the client when this exchange was lost.
    pub(crate) fn lost(&self, loss: Loss, may_have_run: bool) -> Problem {
        self.link.lost(loss, may_have_run)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            self.link.cancel(self.number);
        }
    }
}
