//! A shard on its owner: a table and counters, used where the message
//! arrived. No task, queue or mailbox belongs to a shard (ADR 0002).

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hexagram_core::{
    ClientId, DeadSet, Epoch, EventId, PrincipalId, Serial, SessionClaims, SessionKey, ShardId,
    StreamId, StreamKind, WorkerId,
};
use hexagram_store::{Change, Ticket};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::federation::Federation;
use crate::former::Former;
use crate::ledger::{Ledger, Stored};
use crate::new_owner::NewOwner;
use crate::opening::Openings;
use crate::session::Session;
use crate::tended::Tended;

/// One shard in one epoch.
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) epoch: Epoch,
    // Sessions minted in an earlier epoch are gone.
    floor: Epoch,
    gate: RwLock<Gate>,
    /// Fires when the shard's standing streams are to go on elsewhere.
    pub(crate) moved: CancellationToken,
    /// Fires when the shard was given to another without this worker's help.
    pub(crate) deposed: CancellationToken,
    /// Whether what upstreams say unasked waits: the shard is about to move.
    pub(crate) quiet: watch::Sender<bool>,
    /// Exchanges that may still open an upstream session.
    pub(crate) openings: Arc<Openings>,
    /// Standing streams on which upstreams are heard.
    pub(crate) speaking: watch::Sender<usize>,
    /// Who still runs what it had admitted before it gave the shard away.
    pub(crate) former: Mutex<Option<Arc<Former>>>,
    /// Who has it now, once it was given away.
    pub(crate) new_owner: NewOwner,
    /// What is stored of it, where there is a store.
    ledger: Option<Arc<Ledger>>,
    serials: AtomicU64,
    upstream_ids: AtomicU64,
    streams: AtomicU64,
    table: Tended<Table>,
    /// Whether somebody has it begin anew when its own code fails.
    is_tended: bool,
}

/// Whether a shard admits messages.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gate {
    Open,
    /// It moves to this worker.
    Frozen(WorkerId),
}

/// A message may be admitted as long as this is held: the shard does not freeze.
pub(crate) struct Admission<'a>(
    #[expect(dead_code, reason = "held, never read")] RwLockReadGuard<'a, Gate>,
);

/// Sessions that hold something beyond their sealed id.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) sessions: HashMap<SessionKey, Arc<Session>>,
    // Modern clients whose upstream is legacy and so needs a session of its own.
    pub(crate) bridges: HashMap<(ClientId, PrincipalId), Arc<Session>>,
    pub(crate) dead: DeadSet,
}

impl Shard {
    pub(crate) fn new(id: ShardId, epoch: Epoch) -> Self {
        Self::with(id, epoch, epoch, Table::default(), None)
    }

    /// A shard that goes on with what its last owner held.
    pub(crate) fn with(
        id: ShardId,
        epoch: Epoch,
        floor: Epoch,
        table: Table,
        ledger: Option<Arc<Ledger>>,
    ) -> Self {
        let deposed = ledger.as_ref().map(|ledger| ledger.deposed().clone());
        Self {
            id,
            epoch,
            floor,
            gate: RwLock::new(Gate::Open),
            moved: CancellationToken::new(),
            deposed: deposed.unwrap_or_default(),
            quiet: watch::Sender::new(false),
            openings: Arc::default(),
            speaking: watch::Sender::new(0),
            former: Mutex::default(),
            new_owner: NewOwner::default(),
            ledger,
            serials: AtomicU64::new(0),
            upstream_ids: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            table: Tended::new(table),
            is_tended: true,
        }
    }

    /// As it is where nobody has it begin anew: it goes on after a failure.
    pub(crate) fn alone(self) -> Self {
        Self {
            is_tended: false,
            ..self
        }
    }

    /// Waits until the shard's own code has failed: a panic or a broken invariant
    /// half way through a change.
    pub(crate) async fn failed(&self) {
        self.table.broken().cancelled().await;
    }

    /// Whether nobody knows what the shard's table holds.
    pub(crate) fn has_failed(&self) -> bool {
        self.is_tended && self.table.broken().is_cancelled()
    }

    /// Lets a message in, unless the shard is frozen: then the name of the worker
    /// that it moves to, or `None` where it is to begin anew here.
    pub(crate) fn enter(&self) -> Result<Admission<'_>, Option<WorkerId>> {
        if self.has_failed() {
            return Err(None);
        }
        let gate = self.gate.read();
        match &*gate {
            Gate::Open => Ok(Admission(gate)),
            Gate::Frozen(to) => Err(Some(to.clone())),
        }
    }

    /// Admits nothing more; returns when nothing is being admitted.
    pub(crate) fn freeze(&self, to: WorkerId) {
        *self.gate.write() = Gate::Frozen(to);
        self.quiet.send_replace(true);
    }

    /// Admits again.
    pub(crate) fn thaw(&self) {
        *self.gate.write() = Gate::Open;
        self.quiet.send_replace(false);
    }

    /// Waits until what upstreams say unasked is to wait.
    pub(crate) async fn quieted(&self) {
        let mut quiet = self.quiet.subscribe();
        // The shard holds the sender, so this never fails.
        let _ = quiet.wait_for(|quiet| *quiet).await;
    }

    /// Waits until the upstream sessions that are being opened here, or are about to be,
    /// are open.
    pub(crate) async fn settled(&self) {
        self.openings.over().await;
        for session in self.sessions() {
            session.settled().await;
        }
    }

    /// Waits until nothing is said on standing streams any more.
    pub(crate) async fn hushed(&self) {
        let mut speaking = self.speaking.subscribe();
        // The shard holds the sender, so this never fails.
        let _ = speaking.wait_for(|count| *count == 0).await;
    }

    /// Waits until upstreams may be heard again.
    pub(crate) async fn thawed(&self) {
        let mut quiet = self.quiet.subscribe();
        let _ = quiet.wait_for(|quiet| !*quiet).await;
    }

    /// Whether something of a session may still run at the shard's old owner.
    pub(crate) fn runs_elsewhere(&self, session: SessionKey) -> bool {
        let former = self.former.lock();
        former.as_ref().is_some_and(|former| former.knows(session))
    }

    /// Whether the call of this stream may still run at the shard's old owner.
    pub(crate) fn may_run_elsewhere(&self, session: SessionKey, position: EventId) -> bool {
        position.stream.epoch < self.epoch.get() && self.runs_elsewhere(session)
    }

    /// Whether any client has a request under way here, or where it was before.
    pub(crate) fn is_busy(&self) -> bool {
        let before = self.former.lock();
        let runs_on = before
            .as_ref()
            .is_some_and(|former| !former.sessions().is_empty());
        runs_on || self.sessions().iter().any(|session| session.is_busy())
    }

    /// Sessions minted in an earlier epoch are gone.
    pub(crate) const fn floor(&self) -> Epoch {
        self.floor
    }

    /// Looks at all that is held here.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.table.lock())
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
    /// the floor may have been deleted without our knowledge.
    pub(crate) fn is_alive(&self, key: SessionKey) -> bool {
        key.epoch >= self.floor && !self.table.lock().dead.contains(key)
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

    /// Marks a session as deleted; gives its state, if it had any, and what tells when
    /// the mark is stored.
    pub(crate) fn delete(&self, key: SessionKey) -> (Option<Arc<Session>>, Option<Ticket>) {
        let mut table = self.table.lock();
        table.dead.insert(key);
        let held = table.sessions.remove(&key);
        // Under the lock, so that of two marks in a chunk the later one is written last.
        let ledger = self.ledger.as_ref();
        let stored = ledger.map(|ledger| ledger.dead(key, table.dead.chunk_of(key)));
        (held, stored)
    }

    /// Waits until a change is stored, or cannot be.
    pub(crate) async fn stored(&self, ticket: Option<Ticket>) -> Stored {
        match (&self.ledger, ticket) {
            (Some(ledger), Some(ticket)) => ledger.settled(ticket).await,
            _ => Stored::Yes,
        }
    }

    /// All that is to be stored of it, in pieces.
    pub(crate) fn entries(&self, federation: &Federation, ledger: &Ledger) -> Vec<Vec<Change>> {
        let sessions = self.sessions();
        let mut entries: Vec<_> = sessions
            .iter()
            .map(|session| session.entries(federation))
            .collect();
        let former = self.former.lock();
        entries.extend(former.as_ref().map(|former| vec![former.change()]));
        drop(former);
        let table = self.table.lock();
        let keys = table.dead.chunk_keys();
        entries.extend(keys.map(|key| vec![ledger.chunk(key, table.dead.chunk_of(key))]));
        entries
    }

    /// Forgets those of the deleted whose ids can be presented no more at this Unix time in
    /// seconds, here and in the store.
    pub(crate) fn forget_dead(&self, now: u64) {
        if let Some(ledger) = &self.ledger {
            // Under the lock, so that a chunk which is marked again is written after it.
            let mut table = self.table.lock();
            for (epoch, number) in ledger.forget_dead(now) {
                table.dead.forget_chunk(epoch, number);
            }
        }
    }

    /// What is stored of it, where there is a store.
    pub(crate) fn ledger(&self) -> Option<&Arc<Ledger>> {
        self.ledger.as_ref()
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
