//! From a client's message to its shard: era, ClientId, owner.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{
    ClientId, Epoch, Era, Handle, Principal, ProtocolVersion, Sealer, SessionClaims, ShardCount,
    ShardId, shard_of,
};
use hexagram_mcp::envelope::{Envelope, Kind};
use hexagram_mcp::era::{Opening, detect, negotiate};
use hexagram_mcp::error::Problem;
use hexagram_mcp::{handle, header};
use hexagram_proto::link::{ExchangeKind, Header, Open};
use hexagram_proto::{INITIAL_WINDOW, session_message};
use http::HeaderMap;

use crate::client::{Connection, Identifier, Modern};

/// The modern era's standing stream.
const LISTEN: &str = "subscriptions/listen";

/// Who sent a request.
#[derive(Debug)]
pub(crate) struct Sender<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) connection: &'a Connection,
    pub(crate) headers: &'a HeaderMap,
}

/// A message ready for its link, as often as it has to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    pub(crate) shard: ShardId,
    /// All but the epoch and the session.
    pub(crate) open: Open,
    /// The session's claims; here a copy costs nothing.
    pub(crate) claims: Option<Arc<SessionClaims>>,
    /// Whether it begins something: a request or a standing stream.
    pub(crate) begins: bool,
    /// Whether its stream stays open until somebody leaves: it follows its
    /// shard to another worker.
    pub(crate) standing: bool,
}

impl Routed {
    /// The message as it is sent in `epoch`.
    pub(crate) fn message(&self, epoch: Epoch) -> Open {
        Open {
            epoch: epoch.get(),
            session: self.claims.as_deref().map(session_message),
            ..self.open.clone()
        }
    }
}

/// Finds ClientId and shard of each message.
pub(crate) struct Router {
    pub(crate) identifier: Identifier,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) lifetime: Duration,
    pub(crate) shards: ShardCount,
}

impl Router {
    /// Routes one POSTed message.
    pub(crate) fn message(
        &self,
        from: &Sender<'_>,
        envelope: &Envelope<'_>,
    ) -> Result<Routed, Problem> {
        let routed = match detect(from.headers, envelope)? {
            Opening::LegacyInitialize { requested } => self.initialize(from, &requested),
            Opening::LegacyMessage => self.in_session(from, ExchangeKind::Message)?,
            Opening::Modern(version) => {
                header::check_mirrored(from.headers, envelope)?;
                self.modern(from, version, envelope)?
            }
        };
        let listens = envelope.method.as_deref() == Some(LISTEN);
        Ok(Routed {
            begins: envelope.kind == Kind::Request,
            standing: envelope.kind == Kind::Request && listens && routed.claims.is_none(),
            ..routed
        })
    }

    /// Routes what belongs to the session named in the headers: a legacy
    /// message, the standing stream (GET) or the session's end (DELETE).
    pub(crate) fn in_session(
        &self,
        from: &Sender<'_>,
        kind: ExchangeKind,
    ) -> Result<Routed, Problem> {
        let claims = self.session(from)?;
        let mut routed = self.route(from, claims.client, claims.version, kind);
        routed.claims = Some(claims);
        Ok(routed)
    }

    fn initialize(&self, from: &Sender<'_>, requested: &str) -> Routed {
        let client = self
            .identifier
            .named(from.principal, from.connection, from.headers)
            .unwrap_or_else(|| ClientId::for_session(from.principal.id(), nonce()));
        self.route(from, client, negotiate(requested), ExchangeKind::Message)
    }

    fn modern(
        &self,
        from: &Sender<'_>,
        version: ProtocolVersion,
        envelope: &Envelope<'_>,
    ) -> Result<Routed, Problem> {
        let client = match self.held(from, envelope)? {
            Some(client) => Modern::Lasting(client),
            None => self
                .identifier
                .modern(from.principal, from.connection, from.headers, nonce),
        };
        let (client, once) = match client {
            Modern::Lasting(client) => (client, false),
            Modern::Once(client) => (client, true),
        };
        let mut routed = self.route(from, client, version, ExchangeKind::Message);
        routed.open.once = once;
        routed.open.params = params(from.headers);
        Ok(routed)
    }

    /// The client whose exchange made the handle that the message holds: there
    /// the state is. A forged, expired or another principal's is one answer.
    fn held(
        &self,
        from: &Sender<'_>,
        envelope: &Envelope<'_>,
    ) -> Result<Option<ClientId>, Problem> {
        let Some((purpose, token)) = handle::of(envelope) else {
            return Ok(None);
        };
        let now = hexagram_runtime::clock::unix_seconds();
        Handle::open(&self.sealer, purpose, token)
            .ok()
            .filter(|handle| handle.principal == from.principal.id())
            .filter(|handle| !handle.expired(now, self.lifetime.as_secs()))
            .map(|handle| Some(handle.client))
            .ok_or_else(|| handle::unknown(envelope, Era::Modern))
    }

    fn route(
        &self,
        from: &Sender<'_>,
        client: ClientId,
        version: ProtocolVersion,
        kind: ExchangeKind,
    ) -> Routed {
        let shard = shard_of(client, self.shards);
        let quota = self
            .identifier
            .quota(from.principal, from.connection, from.headers);
        let open = Open {
            shard: u32::from(shard.get()),
            attempt: 1,
            kind: kind.into(),
            client: Some(client.as_u128().into()),
            principal: Some(from.principal.id().as_u128().into()),
            quota: Some(quota.into()),
            version: u32::from(version.code()),
            credit: INITIAL_WINDOW,
            ..Open::default()
        };
        Routed {
            shard,
            open,
            claims: None,
            begins: kind == ExchangeKind::Stream,
            standing: kind == ExchangeKind::Stream,
        }
    }

    /// The claims of the sealed id in `Mcp-Session-Id`. A forged, expired or
    /// another principal's id is one answer: 404, the session does not exist.
    fn session(&self, from: &Sender<'_>) -> Result<Arc<SessionClaims>, Problem> {
        known_version(from.headers)?;
        let mut ids = from.headers.get_all(header::names::MCP_SESSION_ID).iter();
        let token = ids.next().ok_or(Problem::SessionRequired)?;
        // Counted first: what is opened while the ring is exchanged is opened again.
        let ring = self.sealer.rings();
        let open = || self.sealer.open_session(token.to_str().ok()?).ok();
        let now = hexagram_runtime::clock::unix_seconds();
        from.connection
            .session(token.as_bytes(), ring, open)
            .filter(|claims| ids.next().is_none() && claims.principal == from.principal.id())
            .filter(|claims| !claims.expired(now, self.lifetime.as_secs()))
            .ok_or(Problem::SessionNotFound)
    }
}

/// The headers that mirror arguments: the worker knows which must be there.
fn params(headers: &HeaderMap) -> Vec<Header> {
    let all = headers.iter();
    let mirrored =
        all.filter(|(name, _)| name.as_str().starts_with(header::names::MCP_PARAM_PREFIX));
    mirrored
        .map(|(name, value)| Header {
            name: name.to_string(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        })
        .collect()
}

/// An `MCP-Protocol-Version` must be one we speak; which one, the session knows.
fn known_version(headers: &HeaderMap) -> Result<(), Problem> {
    match header::protocol_version(headers)? {
        // The modern era has neither standing streams nor sessions to end.
        Some(version) if version.era() == Era::Modern => {
            Err(Problem::MethodNotAllowed { allowed: "POST" })
        }
        _ => Ok(()),
    }
}

/// A fresh nonce of 128 random bits.
pub(crate) fn nonce() -> u128 {
    u128::from_be_bytes(hexagram_runtime::random::bytes())
}
