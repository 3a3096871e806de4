//! A shard's state as a grant carries it.

use std::sync::Arc;

use hexagram_core::{
    Capabilities, ClientId, DeadSet, Epoch, EventId, PrincipalId, SessionKey, ShardId,
};
use hexagram_proto::handoff::{
    DeadWords, SessionState, ShardState, Subscription, Tail, UpstreamSession,
};
use hexagram_proto::{Malformed, protocol_version};

use crate::facts::ClientFacts;
use crate::federation::Federation;
use crate::former::{key, key_message};
use crate::host::Host;
use crate::kept::Kept;
use crate::session::{Opened, Session};
use crate::shard::{Shard, Table};
use crate::task_names::TaskNames;
use crate::upstream::{Carried, Connection, Upstream};

/// All that a frozen shard's next owner needs.
pub(super) fn export(shard: &Shard, kept: &Kept) -> ShardState {
    shard.read(|table| ShardState {
        floor: shard.floor().get(),
        dead: table.dead.words().map(dead_words).collect(),
        sessions: sessions(table)
            .map(|(key, session)| session_state(key, session, kept))
            .collect(),
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

fn session_state(key: Option<SessionKey>, session: &Session, kept: &Kept) -> SessionState {
    let (client, principal) = session.tasks.owner();
    let facts = &session.facts;
    let opened = session.opened_now();
    let subscriptions = opened.iter().flat_map(|opened| {
        let uris = session.subscriptions.of(opened.upstream.id());
        uris.into_iter().map(|uri| Subscription {
            upstream: opened.upstream.name().to_owned(),
            uri,
        })
    });
    let standing = session.streams.standing();
    SessionState {
        key: key.map(key_message),
        client: client.as_u128().to_be_bytes().to_vec().into(),
        principal: principal.as_u128().to_be_bytes().to_vec().into(),
        version: u32::from(facts.version.code()),
        capabilities: facts.capabilities.bits(),
        client_name: facts.name.clone(),
        client_version: facts.software_version.clone(),
        log_level: session.log_level().map(String::from).unwrap_or_default(),
        subscriptions: subscriptions.collect(),
        upstreams: opened
            .iter()
            .filter_map(|opened| upstream_session(opened, kept))
            .collect(),
        said: session.streams.said(),
        standing: standing.map(|at| at.to_string()).unwrap_or_default(),
    }
}

/// What it takes to go on with an upstream session: its id, or within this
/// process its place.
fn upstream_session(opened: &Opened, kept: &Kept) -> Option<UpstreamSession> {
    let upstream = opened.upstream.name().to_owned();
    match &*opened.connection {
        Connection::Http(http) => {
            let carried = http.carried()?;
            Some(UpstreamSession {
                upstream,
                session_id: carried.session_id,
                protocol_version: carried.protocol_version,
                position: carried.position,
                ..UpstreamSession::default()
            })
        }
        Connection::Duplex(_) => Some(UpstreamSession {
            upstream,
            kept: kept.put(&opened.connection),
            process: kept.process(),
            ..UpstreamSession::default()
        }),
    }
}

/// The shard as its last owner left it.
///
/// # Errors
/// What no worker of this release would have written.
pub(super) fn import(
    state: ShardState,
    id: ShardId,
    epoch: Epoch,
    host: &Host,
    kept: &Kept,
) -> Result<Shard, Malformed> {
    let floor = Epoch::new(state.floor).ok_or(Malformed("floor"))?;
    let federation = host.federation();
    let mut table = Table {
        dead: dead(state.dead)?,
        ..Table::default()
    };
    for state in state.sessions {
        let (key, session) = session(state, host, &federation, kept)?;
        let owner = session.tasks.owner();
        match key {
            Some(key) => drop(table.sessions.insert(key, session)),
            None => drop(table.bridges.insert(owner, session)),
        }
    }
    Ok(Shard::with(id, epoch, floor, table))
}

fn dead(words: Vec<DeadWords>) -> Result<DeadSet, Malformed> {
    let read = |dead: DeadWords| Some((Epoch::new(dead.epoch)?, dead.words));
    let read = words.into_iter().map(read).collect::<Option<DeadSet>>();
    read.ok_or(Malformed("dead bits"))
}

fn session(
    state: SessionState,
    host: &Host,
    federation: &Federation,
    kept: &Kept,
) -> Result<(Option<SessionKey>, Arc<Session>), Malformed> {
    let key = match &state.key {
        Some(message) => Some(key(message).ok_or(Malformed("session key"))?),
        None => None,
    };
    let client = ClientId::from_u128(number(&state.client).ok_or(Malformed("client"))?);
    let principal = PrincipalId::from_u128(number(&state.principal).ok_or(Malformed("principal"))?);
    let facts = ClientFacts {
        version: protocol_version(state.version)?,
        capabilities: Capabilities::from_bits(state.capabilities),
        name: state.client_name,
        software_version: state.client_version,
    };
    let idle = host.idle(key.is_some());
    let session = Session::new(facts, idle, TaskNames::new(client, principal));
    if !state.log_level.is_empty() {
        session.set_log_level(&state.log_level);
    }
    let find = |name: &str| {
        federation
            .all()
            .iter()
            .find(|upstream| upstream.name() == name)
    };
    for subscription in &state.subscriptions {
        if let Some(upstream) = find(&subscription.upstream) {
            // It was within the limits before.
            let _ = session
                .subscriptions
                .set(upstream.id(), &subscription.uri, true);
        }
    }
    for carried in &state.upstreams {
        if let Some(upstream) = find(&carried.upstream)
            && let Some(connection) = connection(upstream, carried, kept)
        {
            session.adopt(upstream, &connection);
        }
    }
    let standing = EventId::parse(&state.standing);
    if standing.is_some() {
        // Nobody has heard them since the old owner closed its streams.
        let all = federation.all().iter();
        all.for_each(|upstream| session.missed.note(upstream.id()));
    }
    session.streams.restore(&state.said, standing);
    Ok((key, Arc::new(session)))
}

fn connection(
    upstream: &Upstream,
    carried: &UpstreamSession,
    kept: &Kept,
) -> Option<Arc<Connection>> {
    match carried.process {
        0 => {
            let carried = Carried {
                session_id: carried.session_id.clone(),
                protocol_version: carried.protocol_version.clone(),
                position: carried.position.clone(),
            };
            upstream.go_on(&carried).map(Arc::new)
        }
        process => kept.take(process, carried.kept),
    }
}

fn number(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}
