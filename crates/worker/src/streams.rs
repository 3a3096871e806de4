//! The streams of one session: those that are under way, and what all have said
//! lately. A session that never streamed holds nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{EventId, SessionKey, StreamId};
use hexagram_proto::handoff;
use hexagram_runtime::clock;
use hexagram_store::Change;
use parking_lot::Mutex;

use crate::ledger::SessionLedger;
use crate::replay::Said;
use crate::saying::Saying;
use crate::stream::{Resumption, Stream};
use crate::transcript::Transcript;

/// A session's streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    table: Mutex<Option<Box<Table>>>,
    ledger: Option<Arc<SessionLedger>>,
}

#[derive(Debug)]
struct Table {
    log: Arc<Transcript>,
    calls: HashMap<StreamId, Arc<Stream>>,
    standing: Option<Arc<Stream>>,
    // Where it was at another owner; it goes on there.
    stood: Option<EventId>,
}

impl Table {
    fn new(ledger: Option<&Arc<SessionLedger>>) -> Box<Self> {
        Box::new(Self {
            log: Arc::new(Transcript::new(ledger.cloned())),
            calls: HashMap::new(),
            standing: None,
            stood: None,
        })
    }
}

/// What an event id of a call leads to.
pub(crate) enum Resumed {
    /// The call runs.
    Running(Arc<Stream>),
    /// It runs at another owner, which tells here how it ends.
    Elsewhere(Arc<Stream>),
    /// It is over; this is left of it, its response last.
    Over(Vec<Said>),
}

impl Streams {
    /// Streams whose messages are stored, where there is a ledger.
    pub(crate) fn of(ledger: Option<Arc<SessionLedger>>) -> Self {
        Self {
            table: Mutex::default(),
            ledger,
        }
    }

    /// A new stream for a call.
    pub(crate) fn call(&self, id: StreamId, resumption: Resumption) -> Arc<Stream> {
        let mut table = self.table.lock();
        let table = table.get_or_insert_with(|| Table::new(self.ledger.as_ref()));
        let stream = Arc::new(Stream::new(id, resumption, Arc::clone(&table.log)));
        table.calls.insert(id, Arc::clone(&stream));
        stream
    }

    /// The call is over.
    pub(crate) fn end_call(&self, id: StreamId) {
        if let Some(table) = &mut *self.table.lock() {
            table.calls.remove(&id);
        }
    }

    /// Keeps the last message of a call that ran at another owner, unless it is kept
    /// already.
    pub(crate) async fn conclude(&self, id: EventId, message: Bytes) -> bool {
        let (log, waiting) = {
            let mut table = self.table.lock();
            let table = table.get_or_insert_with(|| Table::new(self.ledger.as_ref()));
            (Arc::clone(&table.log), table.calls.remove(&id.stream))
        };
        let is_kept = log.has_ended(id.stream) || log.note(id, &message, true).stored().await;
        if let Some(stream) = waiting.filter(|_| is_kept) {
            // A reader that is slow keeps nobody waiting.
            tokio::spawn(async move { stream.conclude(id, message).await });
        }
        is_kept
    }

    /// What there is behind a call's event; `None` where there will be nothing:
    /// the id was never given, or is forgotten, or the client has heard all. `elsewhere`:
    /// the call may run at another owner, which tells here how it ends.
    pub(crate) fn resume(
        &self,
        position: EventId,
        resumption: Resumption,
        elsewhere: bool,
    ) -> Option<Resumed> {
        let mut table = self.table.lock();
        if elsewhere {
            table.get_or_insert_with(|| Table::new(self.ledger.as_ref()));
        }
        let table = table.as_mut()?;
        if let Some(stream) = table.calls.get(&position.stream) {
            return Some(Resumed::Running(Arc::clone(stream)));
        }
        if elsewhere && !table.log.has_ended(position.stream) {
            let log = Arc::clone(&table.log);
            let stream = Arc::new(Stream::going_on(position, resumption, log));
            table.calls.insert(position.stream, Arc::clone(&stream));
            return Some(Resumed::Elsewhere(stream));
        }
        let said = table.log.after(position);
        (!said.is_empty()).then_some(Resumed::Over(said))
    }

    /// The standing stream, with one listener more, and whether it is new: then
    /// it has the id that `id` gives.
    pub(crate) fn listen(
        &self,
        id: impl FnOnce() -> StreamId,
        resumption: Resumption,
    ) -> (Arc<Stream>, bool) {
        let mut table = self.table.lock();
        let table = table.get_or_insert_with(|| Table::new(self.ledger.as_ref()));
        let is_new = table.standing.is_none();
        let (log, stood) = (&table.log, table.stood.take());
        let stream = table.standing.get_or_insert_with(|| {
            let position = stood.unwrap_or_else(|| id().event(0));
            Arc::new(Stream::going_on(position, resumption, Arc::clone(log)))
        });
        stream.listeners.send_modify(|count| *count += 1);
        (Arc::clone(stream), is_new)
    }

    /// Ends the standing stream unless somebody listens again.
    pub(crate) fn retire(&self, stream: &Stream) -> bool {
        let mut table = self.table.lock();
        let is_forsaken = *stream.listeners.borrow() == 0;
        if is_forsaken && let Some(table) = &mut *table {
            table.end_standing(stream);
        }
        is_forsaken
    }

    /// What all streams have said lately.
    pub(crate) fn said(&self) -> Vec<handoff::Said> {
        let table = self.table.lock();
        let Some(table) = &*table else {
            return Vec::new();
        };
        table.log.all(|said, age| handoff::Said {
            event_id: said.id.to_string(),
            message: said.message.clone(),
            last: said.last,
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            ..handoff::Said::default()
        })
    }

    /// What all streams have said lately, for the store.
    pub(crate) fn entries(&self, key: SessionKey) -> Vec<Change> {
        let table = self.table.lock();
        let Some(table) = &*table else {
            return Vec::new();
        };
        let now = clock::unix_millis();
        table.log.all(|said, age| {
            let (id, message) = (said.id, &said.message);
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let said = Saying {
                id,
                message,
                last: said.last,
            };
            let message = said.encode(now.saturating_sub(age));
            Change::Said(key, hexagram_store::Said { id, message })
        })
    }

    /// Where the standing stream is.
    pub(crate) fn standing(&self) -> Option<EventId> {
        let table = self.table.lock();
        let table = table.as_ref()?;
        let standing = table.standing.as_ref();
        standing.map(|stream| stream.position()).or(table.stood)
    }

    /// Goes on with what the streams of another owner have said.
    pub(crate) fn restore(&self, said: &[handoff::Said], standing: Option<EventId>) {
        if said.is_empty() && standing.is_none() {
            return;
        }
        let mut table = self.table.lock();
        let table = table.get_or_insert_with(|| Table::new(self.ledger.as_ref()));
        table.stood = standing;
        for said in said {
            let age = Duration::from_millis(said.age_ms);
            if let Some(id) = EventId::parse(&said.event_id) {
                table.log.restore(id, said.message.clone(), said.last, age);
            }
        }
    }

    /// Forgets the standing stream: a later one begins anew.
    pub(crate) fn end_standing(&self, stream: &Stream) {
        if let Some(table) = &mut *self.table.lock() {
            table.end_standing(stream);
        }
    }

    /// Drops what is too old to be asked for.
    pub(crate) fn expire(&self) {
        let mut table = self.table.lock();
        let Some(held) = &mut *table else { return };
        let is_silent = held.log.expire();
        let is_idle = is_silent && held.calls.is_empty() && held.standing.is_none();
        if is_idle {
            *table = None;
        }
    }
}

impl Table {
    fn end_standing(&mut self, stream: &Stream) {
        self.standing = self.standing.take().filter(|held| held.id != stream.id);
        self.log.forget(stream.id);
    }
}
