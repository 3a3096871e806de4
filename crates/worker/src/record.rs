//! What is kept of one client beyond its sealed id, as a grant carries it and a store
//! holds it.

use bytes::Bytes;
use hexagram_core::{Capabilities, ClientId, PrincipalId, SessionKey};
use hexagram_proto::handoff::{SessionState, Subscription, UpstreamSession};
use hexagram_proto::{Malformed, protocol_version};
use hexagram_store::Change;
use prost::Message;

use crate::facts::ClientFacts;
use crate::federation::Federation;
use crate::former::key_message;
use crate::ledger::Stored;
use crate::session::{Opened, Session};
use crate::upstream::{Carried, Connection};

/// Who the client is, and nothing else.
pub(crate) fn bare(
    key: Option<SessionKey>,
    (client, principal): (ClientId, PrincipalId),
    facts: &ClientFacts,
) -> SessionState {
    SessionState {
        key: key.map(key_message),
        client: client.as_u128().to_be_bytes().to_vec().into(),
        principal: principal.as_u128().to_be_bytes().to_vec().into(),
        version: u32::from(facts.version.code()),
        capabilities: facts.capabilities.bits(),
        client_name: facts.name.clone(),
        client_version: facts.software_version.clone(),
        ..SessionState::default()
    }
}

/// What another process can go on with: no message of its streams, no upstream session
/// that lives in this process.
pub(crate) fn of(
    key: Option<SessionKey>,
    session: &Session,
    federation: &Federation,
) -> SessionState {
    let upstreams = federation.all().iter();
    let subscriptions = upstreams.flat_map(|upstream| {
        let uris = session.subscriptions.of(upstream.id());
        uris.into_iter().map(|uri| Subscription {
            upstream: upstream.name().to_owned(),
            uri,
        })
    });
    SessionState {
        log_level: session.log_level().map(String::from).unwrap_or_default(),
        subscriptions: subscriptions.collect(),
        upstreams: session
            .opened_now()
            .iter()
            .filter_map(upstream_session)
            .collect(),
        ..bare(key, session.tasks.owner(), &session.facts)
    }
}

/// As [`of`], for the store; `None` where the sealed id says all.
pub(crate) fn stored(key: SessionKey, session: &Session, federation: &Federation) -> Option<Bytes> {
    let mut state = of(Some(key), session, federation);
    // Without an id the upstream's session is opened anew at no loss.
    state
        .upstreams
        .retain(|carried| !carried.session_id.is_empty());
    let is_bare =
        state.log_level.is_empty() && state.subscriptions.is_empty() && state.upstreams.is_empty();
    (!is_bare).then(|| state.encode_to_vec().into())
}

impl Session {
    /// Has the store know what this session's next owner must; what depends on a change
    /// is told after it.
    pub(crate) async fn record(&self, federation: &Federation) -> Stored {
        match &self.recorded {
            Some((key, ledger)) => {
                let encode = || stored(*key, self, federation);
                ledger.record(encode).await
            }
            None => Stored::Yes,
        }
    }

    /// All that is stored of it, where anything is.
    pub(crate) fn entries(&self, federation: &Federation) -> Vec<Change> {
        let Some((key, ledger)) = &self.recorded else {
            return Vec::new();
        };
        let state = stored(*key, self, federation);
        ledger.entries(state, self.streams.entries(*key))
    }
}

/// What it takes to go on with an upstream session from another process.
fn upstream_session(opened: &Opened) -> Option<UpstreamSession> {
    let Connection::Http(http) = &*opened.connection else {
        return None;
    };
    let carried = http.carried()?;
    Some(UpstreamSession {
        upstream: opened.upstream.name().to_owned(),
        session_id: carried.session_id,
        protocol_version: carried.protocol_version,
        position: carried.position,
        ..UpstreamSession::default()
    })
}

/// An upstream session that another process has opened.
pub(crate) fn carried(session: &UpstreamSession) -> Carried {
    Carried {
        session_id: session.session_id.clone(),
        protocol_version: session.protocol_version.clone(),
        position: session.position.clone(),
    }
}

/// The client that a state is of.
///
/// # Errors
/// What no worker of this release would have written.
pub(crate) fn owner(state: &SessionState) -> Result<(ClientId, PrincipalId), Malformed> {
    let client = number(&state.client).ok_or(Malformed("client"))?;
    let principal = number(&state.principal).ok_or(Malformed("principal"))?;
    Ok((
        ClientId::from_u128(client),
        PrincipalId::from_u128(principal),
    ))
}

/// What upstreams are told of the client that a state is of.
///
/// # Errors
/// A protocol version that this release does not know.
pub(crate) fn facts(state: &SessionState) -> Result<ClientFacts, Malformed> {
    Ok(ClientFacts {
        version: protocol_version(state.version)?,
        capabilities: Capabilities::from_bits(state.capabilities),
        name: state.client_name.clone(),
        software_version: state.client_version.clone(),
    })
}

fn number(bytes: &[u8]) -> Option<u128> {
    bytes.try_into().ok().map(u128::from_be_bytes)
}
