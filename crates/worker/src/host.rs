//! The shard host: checks that a message is for a shard served here, finds
//! what it means and runs it where it arrived.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{
    Capabilities, ClientId, Epoch, Era, PrincipalId, ProtocolVersion, Sealer, SessionClaims,
    ShardCount, ShardId,
};
use hexagram_mcp::envelope::{Envelope, Kind, scan};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{ExchangeKind, Open};
use hexagram_proto::{Malformed, id128, session_claims};
use http::StatusCode;

use crate::federation::Federation;
use crate::metrics::WorkerMetrics;
use crate::reply::Reply;
use crate::session::{ClientFacts, Session};
use crate::shard::Shard;
use crate::upstream::Upstream;
use crate::{answer, forward, standing};

/// What is left to do after an exchange was admitted, for a task of its own.
pub(crate) type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The shards of this worker and what answers their messages.
pub(crate) struct Host {
    shards: HashMap<ShardId, Arc<Shard>>,
    count: ShardCount,
    pub(crate) federation: Federation,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) metrics: WorkerMetrics,
}

/// One admitted exchange.
pub(crate) struct Call {
    pub(crate) shard: Arc<Shard>,
    pub(crate) client: ClientId,
    pub(crate) principal: PrincipalId,
    pub(crate) version: ProtocolVersion,
    pub(crate) claims: Option<SessionClaims>,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn era(&self) -> Era {
        self.version.era()
    }
}

impl Host {
    pub(crate) fn new(
        count: ShardCount,
        owned: &[(ShardId, Epoch)],
        federation: Federation,
        sealer: Arc<Sealer>,
        metrics: WorkerMetrics,
    ) -> Self {
        let shard = |&(id, epoch): &(ShardId, Epoch)| (id, Arc::new(Shard::new(id, epoch)));
        Self {
            shards: owned.iter().map(shard).collect(),
            count,
            federation,
            sealer,
            metrics,
        }
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.shards.values()
    }

    /// Answers the exchange at once, or gives what is to run in a task.
    pub(crate) fn admit(self: &Arc<Self>, open: Open, mut reply: Reply) -> Option<Run> {
        self.metrics.exchanges.inc();
        let Some(shard) = self.owned(&open) else {
            let known = self.shard(&open).map_or(0, |shard| shard.epoch.get());
            reply.misdirected(open.shard, known);
            return None;
        };
        let kind = open.kind();
        let call = match call(open, shard) {
            Ok(call) => call,
            Err(error) => {
                tracing::error!(%error, "refused an edge's message");
                reply.refuse(&Problem::Internal);
                return None;
            }
        };
        reply.set_era(call.era());
        if let Some(claims) = &call.claims
            && !call.shard.is_alive(claims.key)
        {
            reply.refuse(&Problem::SessionNotFound);
            return None;
        }
        match kind {
            ExchangeKind::Message => self.message(call, reply),
            ExchangeKind::Stream => self.stream(&call, reply),
            ExchangeKind::Delete => self.delete(&call, reply),
        }
    }

    fn shard(&self, open: &Open) -> Option<&Arc<Shard>> {
        let id = self.count.shard(u16::try_from(open.shard).ok()?)?;
        self.shards.get(&id)
    }

    fn owned(&self, open: &Open) -> Option<Arc<Shard>> {
        self.shard(open)
            .filter(|shard| shard.epoch.get() == open.epoch)
            .cloned()
    }

    fn message(self: &Arc<Self>, call: Call, mut reply: Reply) -> Option<Run> {
        let body = call.body.clone();
        let envelope = match scan(&body) {
            Ok(envelope) => envelope,
            Err(error) => {
                reply.refuse(&error.into());
                return None;
            }
        };
        match envelope.kind {
            Kind::Request => {
                if let Some(id) = &envelope.id {
                    reply.set_id(id.as_str());
                }
                self.request(call, &envelope, reply)
            }
            Kind::Notification | Kind::Response | Kind::ErrorResponse => self.one_way(call, reply),
        }
    }

    fn request(self: &Arc<Self>, call: Call, envelope: &Envelope<'_>, reply: Reply) -> Option<Run> {
        let method = envelope.method.as_deref().unwrap_or_default();
        match (call.era(), method) {
            (Era::Legacy, "ping") => answer::empty(reply),
            (Era::Legacy, "initialize") if call.claims.is_none() => {
                return answer::initialize(self, call, envelope, reply);
            }
            (Era::Modern, "server/discover") => return answer::discover(self, reply),
            _ => match self.federation.single().and_then(Upstream::native) {
                Some(handler) => answer::native(handler.as_ref(), &call, envelope, reply),
                None => return Some(Box::pin(forward::request(Arc::clone(self), call, reply))),
            },
        }
        None
    }

    fn one_way(self: &Arc<Self>, call: Call, reply: Reply) -> Option<Run> {
        reply.end(StatusCode::ACCEPTED);
        // Without a session there is nobody that it could concern.
        call.claims.as_ref()?;
        self.federation
            .single()
            .and_then(Upstream::native)
            .is_none()
            .then(|| {
                let run: Run = Box::pin(forward::one_way(Arc::clone(self), call));
                run
            })
    }

    fn stream(self: &Arc<Self>, call: &Call, mut reply: Reply) -> Option<Run> {
        let Some(session) = self.session(call) else {
            reply.refuse(&Problem::SessionRequired);
            return None;
        };
        reply.start();
        Some(Box::pin(standing::run(Arc::clone(self), session, reply)))
    }

    fn delete(&self, call: &Call, reply: Reply) -> Option<Run> {
        let Some(claims) = &call.claims else {
            reply.refuse(&Problem::SessionRequired);
            return None;
        };
        let held = call.shard.delete(claims.key);
        reply.end(StatusCode::OK);
        let session = held?;
        Some(Box::pin(async move { session.close().await }))
    }

    /// The state of the exchange's session, or what stands for one where a
    /// modern client meets legacy upstreams.
    pub(crate) fn session(&self, call: &Call) -> Option<Arc<Session>> {
        let make = |facts| Session::new(facts, self.federation.len());
        match (&call.claims, call.era()) {
            (Some(claims), _) => Some(
                call.shard
                    .session(claims, || make(ClientFacts::from_claims(claims))),
            ),
            (None, Era::Modern) => Some(
                call.shard
                    .bridge(call.client, call.principal, || make(bridge_facts())),
            ),
            (None, Era::Legacy) => None,
        }
    }

    /// Closes the upstream sessions of clients that have been quiet.
    pub(crate) async fn sweep(&self, idle: Duration) {
        for shard in self.shards.values() {
            for session in shard.take_idle(|session| session.is_idle(idle)) {
                session.close().await;
            }
        }
    }
}

/// A modern client toward a legacy upstream: it can be asked nothing, so no
/// capability is offered in its name.
fn bridge_facts() -> ClientFacts {
    ClientFacts {
        version: ProtocolVersion::LATEST_LEGACY,
        capabilities: Capabilities::default(),
        name: "hexagram".to_owned(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn call(open: Open, shard: Arc<Shard>) -> Result<Call, Malformed> {
    let version = u8::try_from(open.version)
        .ok()
        .and_then(ProtocolVersion::from_code)
        .ok_or(Malformed("protocol version"))?;
    Ok(Call {
        shard,
        client: ClientId::from_u128(id128(open.client, "client")?),
        principal: PrincipalId::from_u128(id128(open.principal, "principal")?),
        version,
        claims: session_claims(&open)?,
        body: open.body,
    })
}
