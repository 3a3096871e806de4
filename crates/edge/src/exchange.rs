//! One exchange as its edge sees it.

use std::sync::Arc;
use std::task::{Context, Poll};

use hexagram_mcp::error::Problem;
use hexagram_proto::Consumed;
use hexagram_proto::link::Open;

use crate::link::Link;
use crate::slot::{Incoming, Loss, Slot};

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
    /// Sends a message to the worker; its reply comes through the exchange.
    /// `begins` as [`Link::open`] has it.
    ///
    /// # Errors
    /// The refusal for the client when the link is gone or takes no more:
    /// nothing was sent.
    pub(crate) fn open(link: Arc<Link>, open: Open, begins: bool) -> Result<Self, Problem> {
        let (number, slot) = link.open(open, begins)?;
        Ok(Self {
            link,
            number,
            slot,
            consumed: Consumed::default(),
            ended: false,
        })
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
