//! One link: the exchanges under way to one worker incarnation, over all the
//! connections that carry it.

use std::collections::HashMap;
use std::sync::Arc;

use hexagram_core::{Epoch, Incarnation, WorkerId};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{
    Announce, Cancel, Ceased, Chunk, Credit, EdgeMessage, Hello, Keys, Open, WorkerMessage,
    edge_message, worker_message,
};
use hexagram_proto::{Outbox, chunks};
use parking_lot::{Mutex, RwLock};

use crate::routes::{Change, News};
use crate::slot::{Incoming, Loss, Piece, Position, Slot, Word};

/// A client should wait this long before it tries again, in ms: by then a
/// restarted worker is linked and a moved shard has its owner.
pub(crate) const RETRY_AFTER_MS: u64 = 1_000;

/// A link after its Hello.
#[derive(Debug)]
pub(crate) struct Link {
    worker: WorkerId,
    incarnation: Option<Incarnation>,
    version: u32,
    // Indexed by shard; the epochs that the worker said it serves.
    epochs: RwLock<Vec<Option<Epoch>>>,
    outbox: Outbox<EdgeMessage>,
    table: Mutex<Table>,
    // What the worker knows of this edge's key ring.
    keys: Mutex<Vec<u64>>,
}

/// What is under way, and whether more may begin.
#[derive(Debug, Default)]
struct Table {
    exchanges: HashMap<u64, Waiting>,
    last: u64,
    ceased: bool,
}

/// An exchange under way.
#[derive(Debug)]
struct Waiting {
    slot: Arc<Slot>,
    shard: u32,
    // The epoch that its message was sent in.
    epoch: u64,
}

impl Link {
    /// A link to `worker`, which has greeted with `hello` and was told of these keys.
    pub(crate) fn new(
        worker: WorkerId,
        hello: &Hello,
        version: u32,
        outbox: Outbox<EdgeMessage>,
        keys: Vec<u64>,
    ) -> Self {
        Self {
            keys: Mutex::new(keys),
            worker,
            version,
            incarnation: Incarnation::new(hello.incarnation),
            epochs: RwLock::new(epochs(hello)),
            outbox,
            table: Mutex::default(),
        }
    }

    /// The worker has greeted again, over another connection.
    pub(crate) fn greeted(&self, hello: &Hello) {
        *self.epochs.write() = epochs(hello);
    }

    /// The link version that both sides speak.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    pub(crate) fn worker(&self) -> &WorkerId {
        &self.worker
    }

    /// The epoch in which this worker said, in its Hello, that it serves the
    /// shard of this index; `None` where it does not.
    pub(crate) fn epoch(&self, shard: usize) -> Option<Epoch> {
        self.epochs.read().get(shard).copied().flatten()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.table.lock().exchanges.len()
    }

    /// Sends an exchange's message; gives its number and where what comes back
    /// gathers. `begins` says that it begins something; the rest belongs to
    /// what runs, and a draining worker takes it to its end.
    ///
    /// # Errors
    /// The refusal for the client when the link is gone or its worker drains:
    /// nothing was sent.
    pub(crate) fn open(&self, open: Open, begins: bool) -> Result<(u64, Arc<Slot>), Problem> {
        // Queued under the lock, so that nothing begins after Ceased.
        let mut table = self.table.lock();
        if table.ceased && begins {
            return Err(self.lost(Loss::Worker, false));
        }
        table.last += 1;
        let (exchange, shard, epoch) = (table.last, open.shard, open.epoch);
        self.queue(Open { exchange, ..open })
            .map_err(|_| self.lost(Loss::Worker, false))?;
        let slot = Arc::new(Slot::default());
        let waiting = Waiting {
            slot: Arc::clone(&slot),
            shard,
            epoch,
        };
        table.exchanges.insert(exchange, waiting);
        Ok((exchange, slot))
    }

    /// Begins nothing more: the worker drains.
    fn cease(&self) {
        let mut table = self.table.lock();
        table.ceased = true;
        // A closed link needs no telling.
        let _ = self.push(edge_message::Kind::Ceased(Ceased {}));
    }

    fn queue(&self, mut open: Open) -> Result<(), hexagram_proto::Closed> {
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
        let removed = self.table.lock().exchanges.remove(&exchange);
        if removed.is_some() {
            let _ = self.push(edge_message::Kind::Cancel(Cancel { exchange }));
        }
    }

    /// What the messages of a frame say of shards. To be heard before
    /// [`Self::deliver`]: an exchange that is sent away must find where to.
    pub(crate) fn news(&self, messages: &[WorkerMessage]) -> Vec<News> {
        let kinds = messages.iter().filter_map(|message| message.kind.as_ref());
        kinds.filter_map(|kind| self.news_of(kind)).collect()
    }

    fn news_of(&self, kind: &worker_message::Kind) -> Option<News> {
        let (shard, epoch, what) = match kind {
            worker_message::Kind::Active(active) => {
                let what = Change::Serves(self.worker.clone());
                (active.shard, active.epoch, what)
            }
            worker_message::Kind::Resumed(resumed) => {
                (resumed.shard, resumed.epoch, Change::Resumed)
            }
            worker_message::Kind::Misdirected(away) if away.moving => {
                let epoch = self.table.lock().exchanges.get(&away.exchange)?.epoch;
                (away.shard, epoch, Change::Moving)
            }
            worker_message::Kind::Misdirected(away) => (
                away.shard,
                away.epoch,
                Change::Serves(away.to.parse().ok()?),
            ),
            _ => return None,
        };
        let epoch = Epoch::new(epoch)?;
        Some(News { shard, epoch, what })
    }

    /// Hands the messages of a frame to their exchanges. One for an exchange
    /// that was cancelled in the meantime is dropped.
    /// Gives the announcements among them: they are for the other workers.
    pub(crate) fn deliver(&self, messages: Vec<WorkerMessage>) -> Vec<Announce> {
        let mut leaving = false;
        let mut announcements = Vec::new();
        let mut table = self.table.lock();
        for kind in messages.into_iter().filter_map(|message| message.kind) {
            match said(kind) {
                Said::On(number, word) => table.deliver(number, word),
                Said::Leaving => leaving = true,
                Said::Announce(announce) => announcements.push(announce),
                Said::News => {}
            }
        }
        drop(table);
        if leaving {
            tracing::info!(worker = %self.worker, "worker drains");
            self.cease();
        }
        announcements
    }

    /// Passes on what another worker has announced.
    pub(crate) fn announce(&self, announce: Announce) {
        // A worker that is gone has no subscriptions.
        let _ = self.push(edge_message::Kind::Announce(announce));
    }

    /// Tells the worker of this edge's keys, where they are others than it knows.
    pub(crate) fn tell_keys(&self, keys: &[u64]) {
        let mut told = self.keys.lock();
        if *told != keys {
            told.clear();
            told.extend_from_slice(keys);
            let fingerprints = keys.to_vec();
            // A link that is closed is begun anew with a Hello that has them.
            let _ = self.push(edge_message::Kind::Keys(Keys { fingerprints }));
        }
    }

    /// A second has passed for every exchange under way.
    pub(crate) fn tick(&self, keep_alive: u64) {
        for waiting in self.table.lock().exchanges.values() {
            waiting.slot.tick(keep_alive);
        }
    }

    /// Ends every exchange under way; the link carries nothing any more.
    pub(crate) fn fail(&self, loss: Loss) {
        self.outbox.close();
        let lost = std::mem::take(&mut self.table.lock().exchanges);
        for waiting in lost.into_values() {
            waiting.slot.put(Incoming::Lost(loss).into());
        }
    }

    /// Whether `which` holds for an exchange under way: its shard, and the epoch that
    /// its message was sent in.
    pub(crate) fn has(&self, which: impl Fn(u32, u64) -> bool) -> bool {
        let table = self.table.lock();
        let mut exchanges = table.exchanges.values();
        exchanges.any(|waiting| which(waiting.shard, waiting.epoch))
    }

    /// Ends those exchanges under way; the others go on. The worker is told when it
    /// is reached again: nobody waits for them.
    pub(crate) fn give_up(&self, which: impl Fn(u32, u64) -> bool) {
        let mut table = self.table.lock();
        let lost = table
            .exchanges
            .extract_if(|_, waiting| which(waiting.shard, waiting.epoch));
        let lost: Vec<_> = lost.collect();
        drop(table);
        for (exchange, waiting) in lost {
            // A closed link needs no telling.
            let _ = self.push(edge_message::Kind::Cancel(Cancel { exchange }));
            waiting.slot.put(Incoming::Lost(Loss::Worker).into());
        }
    }

    /// What to tell the client of a lost exchange.
    pub(crate) fn lost(&self, loss: Loss, may_have_run: bool) -> Problem {
        let what = match loss {
            Loss::Worker => format!("worker {} was lost", self.worker),
            Loss::Edge => "this edge shut down".to_owned(),
        };
        match (loss, may_have_run) {
            (_, true) => Problem::OutcomeUnknown {
                detail: format!("{what} while the call ran"),
                upstream: None,
            },
            (Loss::Worker, false) => worker_down(&self.worker),
            (Loss::Edge, false) => Problem::Draining {
                retry_after_ms: RETRY_AFTER_MS,
            },
        }
    }
}

/// What a worker says in its Hello of the shards, by number.
fn epochs(hello: &Hello) -> Vec<Option<Epoch>> {
    let mut epochs = vec![None; hello.shards as usize];
    for owned in &hello.owned {
        if let Some(slot) = epochs.get_mut(owned.shard as usize) {
            *slot = Epoch::new(owned.epoch);
        }
    }
    epochs
}

impl Table {
    fn deliver(&mut self, number: u64, word: Word) {
        if word.ends() {
            if let Some(waiting) = self.exchanges.remove(&number) {
                waiting.slot.put(word);
            }
        } else if let Some(waiting) = self.exchanges.get(&number) {
            waiting.slot.put(word);
        }
    }
}

/// The refusal while no link to `worker` is up.
pub(crate) fn worker_down(worker: &WorkerId) -> Problem {
    tracing::debug!(%worker, "refused: no link");
    Problem::WorkerDown {
        retry_after_ms: RETRY_AFTER_MS,
    }
}

/// What a worker's message is about.
enum Said {
    On(u64, Word),
    Leaving,
    Announce(Announce),
    /// [`Link::news`] has it.
    News,
}

fn said(kind: worker_message::Kind) -> Said {
    match kind {
        worker_message::Kind::Start(start) => {
            let position = Position {
                event_id: start.event_id,
                retry_ms: start.retry_ms,
            };
            Said::On(start.exchange, Incoming::Start(position).into())
        }
        worker_message::Kind::Event(event) => {
            let piece = Piece {
                data: event.data,
                more: event.more,
                last: event.last,
                head: event.head,
                event_id: event.event_id,
            };
            Said::On(event.exchange, Incoming::Event(piece).into())
        }
        worker_message::Kind::End(end) => {
            let end_of = Incoming::End(end.head.unwrap_or_default());
            Said::On(end.exchange, end_of.into())
        }
        worker_message::Kind::Misdirected(misdirected) => {
            Said::On(misdirected.exchange, Word::Misdirected(misdirected))
        }
        worker_message::Kind::Leaving(_) => Said::Leaving,
        worker_message::Kind::Announce(announce) => Said::Announce(announce),
        worker_message::Kind::Reattach(reattach) => Said::On(reattach.exchange, Word::Reattach),
        worker_message::Kind::Active(_) | worker_message::Kind::Resumed(_) => Said::News,
    }
}
