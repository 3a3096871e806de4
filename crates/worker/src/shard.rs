//! A shard on its owner: a table and counters, used where the message
//! arrived. No task, queue or mailbox belongs to a shard (ADR 0002).

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hexagram_core::{
    ClientId, DeadSet, Epoch, PrincipalId, Serial, SessionClaims, SessionKey, ShardId, StreamId,
    StreamKind,
};
use parking_lot::Mutex;

use crate::session::Session;

/// One shard in one epoch.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) epoch: Epoch,
    serials: AtomicU64,
    upstream_ids: AtomicU64,
    streams: AtomicU64,
    table: Mutex<Table>,
}

/// Sessions that hold something beyond their sealed id.
#[derive(Default)]
struct Table {
    sessions: HashMap<SessionKey, Arc<Session>>,
    // Modern clients whose upstream is legacy and so needs a session of its own.
    bridges: HashMap<(ClientId, PrincipalId), Arc<Session>>,
    dead: DeadSet,
}

impl Shard {
    pub(crate) fn new(id: ShardId, epoch: Epoch) -> Self {
        Self {
            id,
            epoch,
            serials: AtomicU64::new(0),
            upstream_ids: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            table: Mutex::default(),
        }
    }

    /// The key of a new session.
    pub(crate) fn new_session_key(&self) -> SessionKey {
        SessionKey {
            epoch: self.epoch,
            serial: Serial::new(self.serials.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// An id for a request to an upstream, never used before or by another owner.
    pub(crate) fn upstream_id(&self) -> String {
        let n = self.upstream_ids.fetch_add(1, Ordering::Relaxed);
        format!("{}.{n}", self.epoch.get())
    }

    /// The id of a new stream. Shard-wide, so that a session whose state was
    /// dropped and made anew never takes an old stream for one of its own.
    pub(crate) fn stream_id(&self, kind: StreamKind) -> StreamId {
        StreamId {
            kind,
            epoch: self.epoch.get(),
            number: self.streams.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Whether a session may still answer (invariant I12). Ids minted below
    /// this epoch may have been deleted without our knowledge.
    pub(crate) fn is_alive(&self, key: SessionKey) -> bool {
        key.epoch >= self.epoch && !self.table.lock().dead.contains(key)
    }

    /// The session's state, made anew if it has none yet; `None` once the
    /// session was deleted (invariant I12).
    pub(crate) fn session(
        &self,
        claims: &SessionClaims,
        make: impl FnOnce() -> Session,
    ) -> Option<Arc<Session>> {
        let mut table = self.table.lock();
        if table.dead.contains(claims.key) {
            return None;
        }
        let session = table
            .sessions
            .entry(claims.key)
            .or_insert_with(|| Arc::new(make()));
        session.touch();
        Some(Arc::clone(session))
    }

    /// The session's state, if it has any.
    pub(crate) fn held_session(&self, key: SessionKey) -> Option<Arc<Session>> {
        self.table.lock().sessions.get(&key).cloned()
    }

    /// The state kept for a modern client on legacy upstreams.
    pub(crate) fn bridge(
        &self,
        client: ClientId,
        principal: PrincipalId,
        make: impl FnOnce() -> Session,
    ) -> Arc<Session> {
        let mut table = self.table.lock();
        let bridge = table
            .bridges
            .entry((client, principal))
            .or_insert_with(|| Arc::new(make()));
        bridge.touch();
        Arc::clone(bridge)
    }

    /// Marks a session as deleted; gives its state, if it had any.
    pub(crate) fn delete(&self, key: SessionKey) -> Option<Arc<Session>> {
        let mut table = self.table.lock();
        table.dead.insert(key);
        table.sessions.remove(&key)
    }

    /// Takes out the sessions for which `which` says so.
    pub(crate) fn take(&self, which: impl Fn(&Arc<Session>) -> bool) -> Vec<Arc<Session>> {
        let mut table = self.table.lock();
        let mut taken = Vec::new();
        table
            .sessions
            .retain(|_, session| keep(session, &which, &mut taken));
        table
            .bridges
            .retain(|_, session| keep(session, &which, &mut taken));
        taken
    }

    /// All that holds something here.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        let table = self.table.lock();
        let all = table.sessions.values().chain(table.bridges.values());
        all.cloned().collect()
    }

    /// Sessions that hold something here.
    pub(crate) fn held(&self) -> usize {
        let table = self.table.lock();
        table.sessions.len() + table.bridges.len()
    }
}

fn keep(
    session: &Arc<Session>,
    which: impl Fn(&Arc<Session>) -> bool,
    taken: &mut Vec<Arc<Session>>,
) -> bool {
    let goes = which(session);
    if goes {
        taken.push(Arc::clone(session));
    }
    !goes
}
