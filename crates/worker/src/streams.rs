//! The streams of one session: those that are under way, and what all have said
//! lately. A session that never streamed holds nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{EventId, SessionKey, StreamId};
use hexagram_proto::handoff;
use hexagram_runtime::clock;
use hexagram_store::Change;
use parking_lot::Mutex;

use crate::ledger::SessionLedger;
use crate::record;
use crate::replay::Said;
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
    // Of calls that run on at another owner, which tells here how they end.
    elsewhere: HashSet<StreamId>,
}

impl Table {
    fn new(ledger: Option<&Arc<SessionLedger>>) -> Box<Self> {
        Box::new(Self {
            log: Arc::new(Transcript::new(ledger.cloned())),
            calls: HashMap::new(),
            standing: None,
            stood: None,
            elsewhere: HashSet::new(),
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
            table.elsewhere.remove(&id);
        }
    }

    /// Keeps the last message of a call that ran at another owner, unless it is kept
    /// already; whether this session has such a call.
    pub(crate) async fn conclude(&self, id: EventId, message: Bytes) -> bool {
        let waiting = {
            let mut table = self.table.lock();
            let Some(table) = &mut *table else {
                return false;
            };
            if !table.elsewhere.remove(&id.stream) {
                return !table.log.after(id.stream.event(id.seq - 1)).is_empty();
            }
            let waiting = table.calls.remove(&id.stream);
            waiting.unwrap_or_else(|| table.going_on(id.stream.event(0), Resumption::Ids))
        };
        waiting.conclude(id, message).await;
        true
    }

    /// What there is behind a call's event; `None` where there will be nothing:
    /// the id was never given, or is forgotten, or the client has heard all.
    pub(crate) fn resume(&self, position: EventId, resumption: Resumption) -> Option<Resumed> {
        let mut table = self.table.lock();
        let table = table.as_mut()?;
        if let Some(stream) = table.calls.get(&position.stream) {
            return Some(Resumed::Running(Arc::clone(stream)));
        }
        if table.elsewhere.contains(&position.stream) {
            let stream = table.going_on(position, resumption);
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
            let said = record::Said {
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

    /// The calls under way, here or at another owner, that have a stream: an event id of
    /// each.
    pub(crate) fn running(&self) -> Vec<EventId> {
        let table = self.table.lock();
        let Some(table) = &*table else {
            return Vec::new();
        };
        let here = table.calls.keys();
        let all: HashSet<_> = here.chain(&table.elsewhere).collect();
        all.into_iter().map(|stream| stream.event(0)).collect()
    }

    /// Goes on with what the streams of another owner have said, and with those of calls
    /// that run on there.
    pub(crate) fn restore(
        &self,
        said: &[handoff::Said],
        standing: Option<EventId>,
        running: impl Iterator<Item = EventId>,
    ) {
        let elsewhere: HashSet<_> = running.map(|id| id.stream).collect();
        if said.is_empty() && standing.is_none() && elsewhere.is_empty() {
            return;
        }
        let mut table = self.table.lock();
        let table = table.get_or_insert_with(|| Table::new(self.ledger.as_ref()));
        table.stood = standing;
        table.elsewhere = elsewhere;
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
        let is_idle = is_silent && held.is_idle();
        if is_idle {
            *table = None;
        }
    }
}

impl Table {
    fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.elsewhere.is_empty() && self.standing.is_none()
    }

    /// A stream on which another owner has spoken up to `position`.
    fn going_on(&self, position: EventId, resumption: Resumption) -> Arc<Stream> {
        Arc::new(Stream::going_on(
            position,
            resumption,
            Arc::clone(&self.log),
        ))
    }

    fn end_standing(&mut self, stream: &Stream) {
        self.standing = self.standing.take().filter(|held| held.id != stream.id);
        self.log.forget(stream.id);
    }
}
