//! What an owner has to say about its shard, on its way into the store.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hexagram_core::{Epoch, ShardId};
use tokio::sync::oneshot;

use crate::lanes::{Lanes, Owner};
use crate::record::Change;
use crate::store::Mark;
use crate::unwritten::Unwritten;

/// One owner's way into the store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) lanes: Arc<Lanes>,
}

/// Tells when a change is stored.
#[derive(Debug)]
#[must_use = "what depends on a change waits for it"]
pub struct Ticket(oneshot::Receiver<Result<(), Unwritten>>);

impl Journal {
    /// Has changes stored, in the order of the calls. What depends on them waits for the
    /// ticket.
    pub fn write(&self, changes: Vec<Change>) -> Ticket {
        let (told, ticket) = oneshot::channel();
        self.lanes.push(self.owner(), changes, Some(told));
        Ticket(ticket)
    }

    /// As [`write`](Self::write), where nothing depends on them.
    pub fn note(&self, changes: Vec<Change>) {
        self.lanes.push(self.owner(), changes, None);
    }

    /// The shard leaves this worker. What was handed in before is still stored, unless a
    /// later owner is there first.
    pub fn close(&self) {
        self.lanes.close(self.owner());
    }

    /// The shard is served now: what the store should have asked for before is asked for
    /// again.
    pub fn served(&self) {
        self.lanes.served(self.owner());
    }

    /// Where the record is left, if all that was handed in is stored.
    #[must_use]
    pub fn settled(&self) -> Option<Mark> {
        self.lanes.settled(self.owner())
    }

    /// Where the record is left at least, while more may be on its way; `None` where it is
    /// not what this owner has written.
    #[must_use]
    pub fn written(&self) -> Option<Mark> {
        self.lanes.written(self.owner())
    }

    pub(crate) fn owner(&self) -> Owner {
        (self.shard, self.epoch)
    }

    /// The epoch that it writes in.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Future for Ticket {
    type Output = Result<(), Unwritten>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The writer ends with its process.
        let told = Pin::new(&mut self.0).poll(cx);
        told.map(|told| told.unwrap_or(Err(Unwritten::Closed)))
    }
}
