//! What has to be stored before it is told to anybody (DESIGN 8): a write precedes the
//! release of what depends on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hexagram_core::{Epoch, EventId, SessionKey};
use hexagram_mcp::error::Problem;
use hexagram_proto::handoff::{DeadExpiry, SessionState};
use hexagram_runtime::clock;
use hexagram_store::{Change, DeadChunk, Journal, Said, Ticket, Unwritten};
use parking_lot::Mutex;
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::saying::Saying;

/// What must be recorded cannot be now.
pub(crate) const STORE_AWAY: Problem = Problem::StoreAway {
    retry_after_ms: 1_000,
};

/// Whether the shard's next owner will know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It will, or it need not.
    Yes,
    /// The store is away: it may not, unless this worker lives until the store is back.
    Away,
    /// The shard has been given on: whoever has it now speaks for it.
    Given,
}

/// A shard's way into the store.
#[derive(Debug)]
pub(crate) struct Ledger {
    journal: Journal,
    given: CancellationToken,
    /// Fires when the shard was given to another without this worker's help.
    deposed: CancellationToken,
    // How long a deleted session's id could be presented, in seconds.
    memory_secs: u64,
    // When each chunk of dead bits may be forgotten: Unix time in seconds.
    expiries: Mutex<BTreeMap<ChunkId, u64>>,
}

/// A chunk of dead bits: the epoch at minting, and the chunk's number.
pub(crate) type ChunkId = (Epoch, u64);

impl Ledger {
    pub(crate) fn new(journal: Journal, memory_secs: u64) -> Self {
        Self {
            journal,
            given: CancellationToken::new(),
            deposed: CancellationToken::new(),
            memory_secs,
            expiries: Mutex::default(),
        }
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn deposed(&self) -> &CancellationToken {
        &self.deposed
    }

    /// The shard is given on: what still runs here ends here, unrecorded.
    pub(crate) fn close(&self) {
        self.given.cancel();
        self.journal.close();
    }

    /// Waits until a change is stored. Where a later owner has claimed the shard it waits
    /// for the end of what is served here: nothing more may be told.
    pub(crate) async fn settled(&self, ticket: Ticket) -> Stored {
        match ticket.await {
            Ok(()) => Stored::Yes,
            Err(Unwritten::Fenced(_)) => {
                tokio::select! {
                    () = self.given.cancelled() => {}
                    () = self.deposed.cancelled() => {}
                }
                Stored::Given
            }
            Err(Unwritten::Lost) => Stored::Away,
            Err(Unwritten::Closed) => Stored::Given,
        }
    }

    /// Has the end of sessions stored; the bits are those of the whole chunk.
    pub(crate) fn dead(&self, key: SessionKey, chunk: (u64, [u64; 8])) -> Ticket {
        let changes = vec![self.chunk(key, chunk), Change::Forget(key)];
        self.journal.write(changes)
    }

    /// A chunk of dead bits. Whoever is in it was minted before now, so none of them can be
    /// presented once a lifetime has passed.
    pub(crate) fn chunk(&self, key: SessionKey, (number, words): (u64, [u64; 8])) -> Change {
        let until = self.memory_ends();
        self.expiries.lock().insert((key.epoch, number), until);
        Change::Dead(DeadChunk {
            epoch: key.epoch,
            number,
            words,
            until,
        })
    }

    /// There are these chunks of dead bits, until then.
    pub(crate) fn has_dead(&self, until: &[DeadExpiry]) {
        let known = until.iter().filter_map(|chunk| {
            let id = (Epoch::new(chunk.epoch)?, chunk.number);
            Some((id, chunk.until))
        });
        self.expiries.lock().extend(known);
    }

    /// Until when chunks of dead bits are kept.
    pub(crate) fn expiries(&self) -> Vec<DeadExpiry> {
        let expiries = self.expiries.lock();
        let all = expiries.iter().map(|((epoch, number), until)| DeadExpiry {
            epoch: epoch.get(),
            number: *number,
            until: *until,
        });
        all.collect()
    }

    /// There are these chunks of dead bits; none of them has a session from after now.
    pub(crate) fn may_have_dead(&self, chunks: impl IntoIterator<Item = ChunkId>) {
        let until = self.memory_ends();
        let mut expiries = self.expiries.lock();
        for chunk in chunks {
            expiries.entry(chunk).or_insert(until);
        }
    }

    /// Has the chunks forgotten of which no session can be presented any more; gives which.
    pub(crate) fn forget_dead(&self, now: u64) -> Vec<ChunkId> {
        let mut expiries = self.expiries.lock();
        let over = expiries.iter().filter(|(_, until)| **until < now);
        let over: Vec<_> = over.map(|(chunk, _)| *chunk).collect();
        for chunk in &over {
            expiries.remove(chunk);
        }
        if !over.is_empty() {
            let changes = over.iter();
            let changes = changes.map(|(epoch, number)| Change::Undead(*epoch, *number));
            self.journal.note(changes.collect());
        }
        over
    }

    fn memory_ends(&self) -> u64 {
        clock::unix_seconds() + self.memory_secs
    }
}

/// A session's part of its shard's ledger.
#[derive(Debug)]
pub(crate) struct SessionLedger {
    ledger: Arc<Ledger>,
    key: SessionKey,
    // The record of a session that has nothing but streams.
    bare: Bytes,
    book: Mutex<Book>,
    // Counts what has changed; what of it is stored.
    changes: AtomicU64,
    stored: AtomicU64,
}

#[derive(Debug, Default)]
struct Book {
    // Whether the store holds a record of the session.
    recorded: bool,
}

impl SessionLedger {
    /// Of a session of which the store holds nothing; `bare` says who its client is.
    pub(crate) fn of(ledger: Arc<Ledger>, key: SessionKey, bare: &SessionState) -> Self {
        Self {
            ledger,
            key,
            bare: bare.encode_to_vec().into(),
            book: Mutex::default(),
            changes: AtomicU64::new(0),
            stored: AtomicU64::new(0),
        }
    }

    /// The store holds a record already.
    pub(crate) fn recorded(self) -> Self {
        self.book.lock().recorded = true;
        self
    }

    /// Something that the record says is different now.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Has the session's record stored, unless it is; `encode` gives it as it is now,
    /// empty where there is nothing to keep.
    pub(crate) async fn record(&self, encode: impl FnOnce() -> Option<Bytes>) -> Stored {
        let seen = self.changes.load(Ordering::Acquire);
        if self.stored.load(Ordering::Acquire) >= seen {
            return Stored::Yes;
        }
        let Some(ticket) = self.push(encode) else {
            return Stored::Yes;
        };
        let stored = self.ledger.settled(ticket).await;
        if stored == Stored::Yes {
            self.stored.fetch_max(seen, Ordering::AcqRel);
        }
        stored
    }

    /// Under the lock, so that of two records the later one is written last.
    fn push(&self, encode: impl FnOnce() -> Option<Bytes>) -> Option<Ticket> {
        let mut book = self.book.lock();
        let record = match encode() {
            Some(record) => record,
            None if book.recorded => self.bare.clone(),
            None => return None,
        };
        book.recorded = true;
        let change = Change::Session(self.key, record);
        Some(self.ledger.journal.write(vec![change]))
    }

    /// Has a message stored, and what it pushed out of the session's memory forgotten.
    pub(crate) fn said(&self, message: &Saying<'_>, forgotten: Vec<EventId>) -> Ticket {
        let mut book = self.book.lock();
        let mut changes = Vec::with_capacity(2 + forgotten.len());
        if !std::mem::replace(&mut book.recorded, true) {
            changes.push(Change::Session(self.key, self.bare.clone()));
        }
        let said = Said {
            id: message.id,
            message: message.encode(clock::unix_millis()),
        };
        changes.push(Change::Said(self.key, said));
        changes.extend(self.unsaid(forgotten));
        self.ledger.journal.write(changes)
    }

    /// All that the store is to hold of the session: its record, and what it said.
    pub(crate) fn entries(&self, record: Option<Bytes>, said: Vec<Change>) -> Vec<Change> {
        let mut book = self.book.lock();
        let record = match record {
            Some(record) => record,
            None if book.recorded || !said.is_empty() => self.bare.clone(),
            None => return said,
        };
        book.recorded = true;
        let record = Change::Session(self.key, record);
        std::iter::once(record).chain(said).collect()
    }

    /// Has messages forgotten.
    pub(crate) fn unsay(&self, forgotten: Vec<EventId>) {
        if !forgotten.is_empty() {
            let changes = self.unsaid(forgotten).collect();
            self.ledger.journal.note(changes);
        }
    }

    fn unsaid(&self, forgotten: Vec<EventId>) -> impl Iterator<Item = Change> {
        let key = self.key;
        forgotten.into_iter().map(move |id| Change::Unsaid(key, id))
    }

    /// Waits until a message is stored, or cannot be; whether it may be told. It may not
    /// where a later owner, which does not know it, gives the same id to another.
    pub(crate) async fn may_tell(&self, ticket: Ticket) -> bool {
        self.ledger.settled(ticket).await;
        !self.ledger.deposed.is_cancelled()
    }

    /// Nothing is held for the session any more.
    pub(crate) fn forget(&self) {
        if std::mem::take(&mut self.book.lock().recorded) {
            self.ledger.journal.note(vec![Change::Forget(self.key)]);
        }
    }

    /// Whether the store holds something of the session, so that another worker can go
    /// on with it.
    pub(crate) fn is_recorded(&self) -> bool {
        self.book.lock().recorded
    }
}
