//! One live link: the exchanges under way to one worker incarnation.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hexagram_core::{Epoch, Incarnation, ShardId, WorkerId};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{
    Cancel, Chunk, Credit, EdgeMessage, Hello, Open, WorkerMessage, edge_message, worker_message,
};
use hexagram_proto::{Outbox, chunks};
use parking_lot::Mutex;

use crate::exchange::{Exchange, Incoming, Piece, Slot};

/// A client should wait this long before it tries a lost worker again, in ms.
const RETRY_AFTER_LOST_MS: u64 = 1_000;

/// A link after its Hello.
#[derive(Debug)]
pub(crate) struct Link {
    worker: WorkerId,
    incarnation: Option<Incarnation>,
    // Indexed by shard; the epochs that the worker said it serves.
    epochs: Vec<Option<Epoch>>,
    outbox: Outbox<EdgeMessage>,
    exchanges: Mutex<HashMap<u64, Arc<Slot>>>,
    next: AtomicU64,
}

impl Link {
    pub(crate) fn new(worker: WorkerId, hello: &Hello, outbox: Outbox<EdgeMessage>) -> Self {
        let mut epochs = vec![None; hello.shards as usize];
        for owned in &hello.owned {
            if let Some(slot) = epochs.get_mut(owned.shard as usize) {
                *slot = Epoch::new(owned.epoch);
            }
        }
        Self {
            worker,
            incarnation: Incarnation::new(hello.incarnation),
            epochs,
            outbox,
            exchanges: Mutex::new(HashMap::new()),
            next: AtomicU64::new(1),
        }
    }

    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// The epoch in which this worker serves `shard`, if it does.
    pub(crate) fn epoch(&self, shard: ShardId) -> Option<Epoch> {
        self.epochs.get(shard.index()).copied().flatten()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.exchanges.lock().len()
    }

    /// Sends a message to the worker; its reply comes through the exchange.
    ///
    /// # Errors
    /// The refusal for the client when the link is gone: nothing was sent.
    pub(crate) fn open(self: &Arc<Self>, mut open: Open) -> Result<Exchange, Problem> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::new(Slot::default());
        open.exchange = number;
        self.exchanges.lock().insert(number, Arc::clone(&slot));
        let exchange = Exchange::new(Arc::clone(self), number, slot);
        self.send(open).map_err(|_| self.lost_problem(false))?;
        Ok(exchange)
    }

    fn send(&self, mut open: Open) -> Result<(), hexagram_proto::Closed> {
        let exchange = open.exchange;
        let mut pieces = chunks(std::mem::take(&mut open.body));
        if let Some((first, more)) = pieces.next() {
            open.body = first;
            open.more = more;
        }
        self.push(edge_message::Kind::Open(open))?;
        pieces.try_for_each(|(data, more)| {
            self.push(edge_message::Kind::Chunk(Chunk {
                exchange,
                data,
                more,
            }))
        })
    }

    fn push(&self, kind: edge_message::Kind) -> Result<(), hexagram_proto::Closed> {
        self.outbox.push(EdgeMessage { kind: Some(kind) })
    }

    /// Lets the worker send `bytes` more on an exchange.
    pub(crate) fn grant(&self, exchange: u64, bytes: u32) {
        // A closed link has told the exchange already.
        let _ = self.push(edge_message::Kind::Credit(Credit { exchange, bytes }));
    }

    /// The client left.
    pub(crate) fn cancel(&self, exchange: u64) {
        if self.exchanges.lock().remove(&exchange).is_some() {
            let _ = self.push(edge_message::Kind::Cancel(Cancel { exchange }));
        }
    }

    /// Hands one message of the worker to its exchange. A message for an
    /// exchange that was cancelled in the meantime is dropped.
    pub(crate) fn deliver(&self, message: WorkerMessage) {
        let Some((number, incoming)) = incoming(message) else {
            return;
        };
        if let Some(slot) = self.slot(number, incoming.ends()) {
            slot.put(incoming);
        }
    }

    fn slot(&self, exchange: u64, ends: bool) -> Option<Arc<Slot>> {
        let mut exchanges = self.exchanges.lock();
        if ends {
            exchanges.remove(&exchange)
        } else {
            exchanges.get(&exchange).cloned()
        }
    }

    /// Ends every exchange under way; the link carries nothing any more.
    pub(crate) fn fail(&self) {
        self.outbox.close();
        let lost = std::mem::take(&mut *self.exchanges.lock());
        for slot in lost.into_values() {
            slot.put(Incoming::Lost);
        }
    }

    pub(crate) fn lost_problem(&self, may_have_run: bool) -> Problem {
        if may_have_run {
            Problem::OutcomeUnknown {
                detail: format!("worker {} was lost while the call ran", self.worker),
            }
        } else {
            worker_down(&self.worker)
        }
    }
}

/// The refusal while no link to `worker` is up.
pub(crate) fn worker_down(worker: &WorkerId) -> Problem {
    tracing::debug!(%worker, "refused: no link");
    Problem::WorkerDown {
        retry_after_ms: RETRY_AFTER_LOST_MS,
    }
}

fn incoming(message: WorkerMessage) -> Option<(u64, Incoming)> {
    Some(match message.kind? {
        worker_message::Kind::Start(start) => (start.exchange, Incoming::Start),
        worker_message::Kind::Event(event) => (
            event.exchange,
            Incoming::Event(Piece {
                data: event.data,
                more: event.more,
                last: event.last,
                head: event.head,
            }),
        ),
        worker_message::Kind::End(end) => {
            (end.exchange, Incoming::End(end.head.unwrap_or_default()))
        }
        worker_message::Kind::Misdirected(misdirected) => {
            (misdirected.exchange, Incoming::Misdirected(misdirected))
        }
    })
}
