//! The shard host: checks that a message is for a shard served here, finds
//! what it means and runs it where it arrived.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hexagram_core::{
    Capabilities, ClientId, Era, PrincipalId, ProtocolVersion, Sealer, SessionClaims, ShardCount,
};
use hexagram_mcp::envelope::{Envelope, Kind, scan};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::{ExchangeKind, Open};
use hexagram_proto::{Malformed, id128, session_claims};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::federation::Federation;
use crate::metrics::WorkerMetrics;
use crate::reply::Reply;
use crate::session::{ClientFacts, Session};
use crate::shard::Shard;
use crate::upstream::NativeHandler;
use crate::{WorkerContext, answer, forward, one_way, standing};

/// What is left to do after an exchange was admitted, for a task of its own.
pub(crate) type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The shards of this worker and what answers their messages.
pub(crate) struct Host {
    // By number; `None` for those of other workers.
    shards: Vec<Option<Arc<Shard>>>,
    session_idle: Duration,
    draining: CancellationToken,
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
    /// The client is known for this exchange only.
    pub(crate) once: bool,
}

impl Call {
    pub(crate) fn era(&self) -> Era {
        self.version.era()
    }
}

impl Host {
    pub(crate) fn new(context: WorkerContext, federation: Federation) -> Self {
        let mut shards = vec![None; usize::from(context.shards.get())];
        for (id, epoch) in context.owned {
            shards[id.index()] = Some(Arc::new(Shard::new(id, epoch)));
        }
        Self {
            shards,
            session_idle: context.session_idle,
            draining: CancellationToken::new(),
            count: context.shards,
            federation,
            sealer: context.sealer,
            metrics: context.metrics,
        }
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        self.shards.iter().flatten()
    }

    /// From now on new requests are refused and standing streams end; running
    /// calls go on, and so does what belongs to them.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// Waits for the drain.
    pub(crate) async fn drained(&self) {
        self.draining.cancelled().await;
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
            name_request(&call.body, &mut reply);
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
        self.shards[id.index()].as_ref()
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
        if self.draining.is_cancelled() {
            return refuse_draining(reply);
        }
        match (call.era(), method) {
            (Era::Legacy, "ping") => answer::empty(reply),
            (Era::Legacy, "initialize") if call.claims.is_none() => {
                answer::initialize(self, &call, envelope, reply)
            }
            (Era::Modern, "server/discover") => answer::discover(self, reply),
            _ => match self.native() {
                Some(handler) => answer::native(handler.as_ref(), &call, envelope, reply),
                None => Some(Box::pin(forward::request(Arc::clone(self), call, reply))),
            },
        }
    }

    fn native(&self) -> Option<&Arc<dyn NativeHandler>> {
        self.federation.single()?.native()
    }

    fn one_way(self: &Arc<Self>, call: Call, reply: Reply) -> Option<Run> {
        reply.end(StatusCode::ACCEPTED);
        // Where nothing is held for a session, there is nobody to tell.
        let session = call.shard.held_session(call.claims.as_ref()?.key)?;
        Some(Box::pin(one_way::deliver(
            Arc::clone(self),
            session,
            call.body,
        )))
    }

    fn stream(self: &Arc<Self>, call: &Call, mut reply: Reply) -> Option<Run> {
        if self.draining.is_cancelled() {
            return refuse_draining(reply);
        }
        let Some(session) = self.session(call) else {
            reply.refuse(&Problem::SessionNotFound);
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
    /// modern client meets legacy upstreams. `None` for a deleted session.
    pub(crate) fn session(&self, call: &Call) -> Option<Arc<Session>> {
        let make = |facts, idle| Session::new(facts, self.federation.len(), idle);
        let bridge = || make(bridge_facts(), BRIDGE_IDLE.min(self.session_idle));
        match (&call.claims, call.era()) {
            (Some(claims), _) => call.shard.session(claims, || {
                make(ClientFacts::from_claims(claims), self.session_idle)
            }),
            (None, Era::Modern) if call.once || !self.needs_bridge() => Some(Arc::new(bridge())),
            (None, Era::Modern) => Some(call.shard.bridge(call.client, call.principal, bridge)),
            (None, Era::Legacy) => None,
        }
    }

    /// Whether a modern client needs sessions at the upstreams.
    fn needs_bridge(&self) -> bool {
        let mut upstreams = self.federation.all().iter();
        upstreams.any(|upstream| !upstream.is_stateless_in(Era::Modern))
    }

    /// Closes the upstream sessions of clients that have been quiet.
    pub(crate) async fn sweep(&self) {
        self.close(Session::is_idle).await;
    }

    /// Closes all upstream sessions: nobody else knows of them.
    pub(crate) async fn close_all(&self) {
        self.close(|_| true).await;
    }

    async fn close(&self, which: impl Fn(&Arc<Session>) -> bool) {
        let taken = self.shards().flat_map(|shard| shard.take(&which));
        join_all(taken.map(|session| async move { session.close().await })).await;
    }
}

fn refuse_draining(reply: Reply) -> Option<Run> {
    reply.refuse(&Problem::Draining {
        retry_after_ms: RETRY_AFTER_MS,
    });
    None
}

/// Lets a refusal carry the id of the request, if the body holds one.
fn name_request(body: &[u8], reply: &mut Reply) {
    if let Ok(envelope) = scan(body)
        && envelope.kind == Kind::Request
        && let Some(id) = envelope.id
    {
        reply.set_id(id.as_str());
    }
}

/// Upstream sessions of a modern client are kept this long between requests:
/// nothing in its era says that it will come back.
const BRIDGE_IDLE: Duration = Duration::from_secs(20);
/// A client refused by a draining worker should wait this long, in ms.
const RETRY_AFTER_MS: u64 = 1_000;

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
        once: open.once,
        body: open.body,
    })
}
