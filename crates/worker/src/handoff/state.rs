//! A shard's state as a grant carries it.

use std::sync::Arc;

use hexagram_core::{DeadSet, Epoch, EventId, SessionKey, ShardId};
use hexagram_proto::Malformed;
use hexagram_proto::handoff::{DeadWords, SessionState, ShardState, Tail, UpstreamSession};

use crate::facts::ClientFacts;
use crate::federation::Federation;
use crate::former::{key, key_message};
use crate::host::Host;
use crate::kept::Kept;
use crate::ledger::{ChunkId, Ledger, SessionLedger};
use crate::record;
use crate::session::{Opened, Session};
use crate::shard::{Shard, Table};
use crate::task_names::TaskNames;
use crate::upstream::{Connection, Upstream};

/// All that a frozen shard's next owner needs.
pub(super) fn export(shard: &Shard, host: &Host, kept: &Kept) -> ShardState {
    let federation = host.federation();
    shard.read(|table| ShardState {
        floor: shard.floor().get(),
        dead: table.dead.words().map(dead_words).collect(),
        sessions: sessions(table)
            .map(|(key, session)| session_state(key, session, &federation, kept))
            .collect(),
        recorded: false,
        left: None,
        expiries: shard
            .ledger()
            .map(|ledger| ledger.expiries())
            .unwrap_or_default(),
        tails: sessions(table)
            .flat_map(|(key, session)| tails(key, session))
            .chain(further_back(shard))
            .collect(),
    })
}

fn sessions(table: &Table) -> impl Iterator<Item = (Option<SessionKey>, &Arc<Session>)> {
    let legacy = table
        .sessions
        .iter()
        .map(|(key, session)| (Some(*key), session));
    legacy.chain(table.bridges.values().map(|session| (None, session)))
}

fn dead_words((epoch, words): (Epoch, &[u64])) -> DeadWords {
    DeadWords {
        epoch: epoch.get(),
        words: words.to_vec(),
    }
}

fn tails(key: Option<SessionKey>, session: &Session) -> Vec<Tail> {
    let session_key = key.map(key_message);
    let ids = session.under_way();
    ids.into_iter()
        .map(|request_id| Tail {
            session: session_key,
            request_id,
        })
        .collect()
}

/// What runs on where the shard was before: the next owner reaches it through
/// this one.
fn further_back(shard: &Shard) -> Vec<Tail> {
    let former = shard.former.lock();
    let sessions = former.as_ref().map(|former| former.sessions());
    let tail = |session| Tail {
        session: Some(key_message(session)),
        request_id: String::new(),
    };
    sessions.into_iter().flatten().map(tail).collect()
}

fn session_state(
    key: Option<SessionKey>,
    session: &Session,
    federation: &Federation,
    kept: &Kept,
) -> SessionState {
    let mut state = record::of(key, session, federation);
    let here = session.opened_now();
    let here = here.iter().filter_map(|opened| kept_session(opened, kept));
    state.upstreams.extend(here);
    let standing = session.streams.standing();
    SessionState {
        said: session.streams.said(),
        recorded: session.is_recorded(),
        standing: standing.map(|at| at.to_string()).unwrap_or_default(),
        ..state
    }
}

/// What it takes to go on with an upstream session that lives in this process: its place
/// here, and for another process what its handler exports.
fn kept_session(opened: &Opened, kept: &Kept) -> Option<UpstreamSession> {
    let Connection::Duplex(duplex) = &*opened.connection else {
        return None;
    };
    Some(UpstreamSession {
        upstream: opened.upstream.name().to_owned(),
        kept: kept.put(&opened.connection),
        process: kept.process(),
        state: duplex.exported().unwrap_or_default(),
        ..UpstreamSession::default()
    })
}

/// What a shard's next owner goes on with it in.
pub(super) struct Heir<'a> {
    pub(super) id: ShardId,
    pub(super) epoch: Epoch,
    pub(super) host: &'a Host,
    pub(super) kept: &'a Kept,
    pub(super) ledger: Option<Arc<Ledger>>,
    /// Nobody gave it: what was said while nobody owned it is not known.
    pub(super) after_loss: bool,
}

impl Heir<'_> {
    /// Whether [`Self::import`] will read it.
    ///
    /// # Errors
    /// What no worker of this release would have written.
    pub(super) fn check(&self, state: &ShardState) -> Result<(), Malformed> {
        Epoch::new(state.floor).ok_or(Malformed("floor"))?;
        for state in &state.sessions {
            session_key(state)?;
            record::owner(state)?;
            record::facts(state)?;
        }
        dead(state.dead.clone()).map(drop)
    }

    /// The shard as its last owner left it.
    ///
    /// # Errors
    /// What no worker of this release would have written.
    pub(super) fn import(self, state: ShardState) -> Result<Shard, Malformed> {
        let floor = Epoch::new(state.floor).ok_or(Malformed("floor"))?;
        let federation = self.host.federation();
        let mut table = Table {
            dead: dead(state.dead)?,
            ..Table::default()
        };
        if let Some(ledger) = &self.ledger {
            ledger.has_dead(&state.expiries);
            ledger.may_have_dead(chunks(&table.dead));
        }
        for state in state.sessions {
            let (key, session) = self.session(&state, &federation)?;
            let owner = session.tasks.owner();
            match key {
                Some(key) => drop(table.sessions.insert(key, session)),
                None => drop(table.bridges.insert(owner, session)),
            }
        }
        Ok(Shard::with(self.id, self.epoch, floor, table, self.ledger))
    }

    fn session(
        &self,
        state: &SessionState,
        federation: &Federation,
    ) -> Result<(Option<SessionKey>, Arc<Session>), Malformed> {
        let key = session_key(state)?;
        let session = self.revive(key, state)?;
        restore_settings(&session, state, federation);
        for carried in &state.upstreams {
            if let Some(upstream) = find(federation, &carried.upstream)
                && let Some(connection) = connection(upstream, carried, &session.facts, self.kept)
            {
                session.adopt(upstream, &connection);
            }
        }
        let standing = EventId::parse(&state.standing);
        if standing.is_some() || self.after_loss {
            // Nobody has heard them since the old owner closed its streams, or died.
            let all = federation.all().iter();
            all.for_each(|upstream| session.missed.note(upstream.id()));
        }
        session.streams.restore(&state.said, standing);
        Ok((key, Arc::new(session)))
    }

    fn revive(&self, key: Option<SessionKey>, state: &SessionState) -> Result<Session, Malformed> {
        let (client, principal) = record::owner(state)?;
        let facts = record::facts(state)?;
        let ledger = key.zip(self.ledger.as_ref()).map(|(key, ledger)| {
            let bare = record::bare(Some(key), (client, principal), &facts);
            let ledger = SessionLedger::of(Arc::clone(ledger), key, &bare);
            Arc::new(match state.recorded {
                true => ledger.recorded(),
                false => ledger,
            })
        });
        let idle = self.host.idle(key.is_some());
        let session = Session::new(facts, idle, TaskNames::new(client, principal));
        Ok(session.recorded_in(key, ledger))
    }
}

/// The session that a state is of; `None` for a modern client's.
fn session_key(state: &SessionState) -> Result<Option<SessionKey>, Malformed> {
    match &state.key {
        Some(message) => key(message).ok_or(Malformed("session key")).map(Some),
        None => Ok(None),
    }
}

fn dead(words: Vec<DeadWords>) -> Result<DeadSet, Malformed> {
    let read = |dead: DeadWords| Some((Epoch::new(dead.epoch)?, dead.words));
    let read = words.into_iter().map(read).collect::<Option<DeadSet>>();
    read.ok_or(Malformed("dead bits"))
}

fn chunks(dead: &DeadSet) -> impl Iterator<Item = ChunkId> {
    let number = |key: SessionKey| key.serial.get() / DeadSet::CHUNK;
    dead.chunk_keys().map(move |key| (key.epoch, number(key)))
}

fn find<'a>(federation: &'a Federation, name: &str) -> Option<&'a Arc<Upstream>> {
    let mut all = federation.all().iter();
    all.find(|upstream| upstream.name() == name)
}

fn restore_settings(session: &Session, state: &SessionState, federation: &Federation) {
    if !state.log_level.is_empty() {
        session.set_log_level(Some(&state.log_level));
    }
    for subscription in &state.subscriptions {
        if let Some(upstream) = find(federation, &subscription.upstream) {
            // It was within the limits before.
            let _ = session
                .subscriptions
                .set(upstream.id(), &subscription.uri, true);
        }
    }
}

fn connection(
    upstream: &Upstream,
    carried: &UpstreamSession,
    facts: &ClientFacts,
    kept: &Kept,
) -> Option<Arc<Connection>> {
    if carried.process == 0 {
        return upstream.go_on(&record::carried(carried)).map(Arc::new);
    }
    let here = kept.take(carried.process, carried.kept);
    let import = || upstream.import(facts, &carried.state).map(Arc::new);
    here.or_else(|| (!carried.state.is_empty()).then(import).flatten())
}
