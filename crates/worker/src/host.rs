//! The shard host: the shards served here, the sessions in them, and what
//! answers their messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hexagram_core::{
    Capabilities, ClientId, Era, PrincipalId, ProtocolVersion, Sealer, SessionClaims, ShardCount,
    ShardId, WorkerId,
};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::Owned;
use hexagram_runtime::clock;
use http::HeaderMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::WorkerContext;
use crate::busy::{Busy, Timer};
use crate::changes::Changes;
use crate::edges::Edges;
use crate::facts::ClientFacts;
use crate::federation::Federation;
use crate::ledger::{STORE_AWAY, SessionLedger, Stored};
use crate::metrics::WorkerMetrics;
use crate::opening::Opening;
use crate::place::Place;
use crate::pulse::Pulse;
use crate::record;
use crate::session::Session;
use crate::shard::Shard;
use crate::task_names::TaskNames;
use crate::upstream::Upstream;

/// A client that is to say something again should wait this long, in ms.
const RETRY_AFTER_MS: u64 = 250;

/// The shards of this worker and what answers their messages.
pub(crate) struct Host {
    // By number.
    places: Vec<Place>,
    /// Edges that are linked now.
    pub(crate) edges: Edges,
    pub(crate) name: WorkerId,
    /// Whether what is known here may be acted on.
    pub(crate) pulse: Pulse,
    session_idle: Duration,
    // Of the register; there may be none.
    register_reached: Option<watch::Receiver<bool>>,
    draining: CancellationToken,
    count: ShardCount,
    federation: watch::Sender<Arc<Federation>>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) changes: Changes,
    pub(crate) metrics: WorkerMetrics,
    /// What each shard takes, where there is a controller to be told.
    pub(crate) busy: Option<Busy>,
}

/// One admitted exchange.
pub(crate) struct Call {
    pub(crate) shard: Arc<Shard>,
    pub(crate) client: ClientId,
    pub(crate) principal: PrincipalId,
    pub(crate) version: ProtocolVersion,
    pub(crate) claims: Option<SessionClaims>,
    pub(crate) body: Bytes,
    /// Arguments mirrored in headers.
    pub(crate) params: HeaderMap,
    /// The client is known for this exchange only.
    pub(crate) once: bool,
    /// The client has heard the beginning already, from another owner.
    pub(crate) reattached: bool,
    /// An owner that was lost may have begun with it.
    pub(crate) repeated: bool,
    /// The body is one message of a batch.
    pub(crate) batched: bool,
    /// Until it has its upstream session, or needs none.
    pub(crate) opening: Opening,
}

impl Call {
    pub(crate) fn era(&self) -> Era {
        self.version.era()
    }
}

impl Host {
    pub(crate) fn new(context: WorkerContext, federation: Federation) -> Self {
        let places: Vec<Place> = context.shards.iter().map(|_| Place::default()).collect();
        let loads = context.metrics.shard_loads(&context.name);
        let busy = context.membership.is_some();
        let polled = context.metrics.polled.clone();
        let busy = busy.then(|| Busy::new(context.shards, polled, loads));
        for (id, epoch) in context.owned {
            places[id.index()].serve(Arc::new(Shard::new(id, epoch).alone()));
        }
        Self {
            places,
            edges: Edges::default(),
            name: context.name,
            pulse: Pulse::new(context.membership.is_some()),
            session_idle: context.session_idle,
            register_reached: context.membership.map(|membership| membership.reached),
            draining: CancellationToken::new(),
            count: context.shards,
            federation: watch::Sender::new(Arc::new(federation)),
            sealer: context.sealer,
            changes: context.changes,
            metrics: context.metrics,
            busy,
        }
    }

    /// Whether what was said is recorded well enough to be acknowledged (DESIGN 8): in
    /// the store, or, while that is away, here, where the register says who serves.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn acknowledge(&self, stored: Stored) -> Result<(), Problem> {
        let reached = self.register_reached.as_ref();
        let reached = reached.is_none_or(|reached| *reached.borrow());
        match stored {
            Stored::Away if !reached => Err(STORE_AWAY),
            Stored::Yes | Stored::Away => Ok(()),
            // The owner of now does not know. Saying it again there does no harm.
            Stored::Given => Err(Problem::Moving {
                retry_after_ms: RETRY_AFTER_MS,
            }),
        }
    }

    /// The shards served here.
    pub(crate) fn shards(&self) -> impl Iterator<Item = Arc<Shard>> {
        self.places.iter().filter_map(Place::shard)
    }

    /// The upstreams as they are now.
    pub(crate) fn federation(&self) -> Arc<Federation> {
        Arc::clone(&self.federation.borrow())
    }

    /// The upstreams as they are now, and news of others.
    pub(crate) fn federations(&self) -> watch::Receiver<Arc<Federation>> {
        self.federation.subscribe()
    }

    /// Serves other upstreams from now on; gives those before.
    pub(crate) fn federate(&self, federation: Federation) -> Arc<Federation> {
        self.federation.send_replace(Arc::new(federation))
    }

    /// From now on new requests are refused and standing streams end; running
    /// calls go on, and so does what belongs to them.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    /// Whether the drain has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// The shard of this number, if it is served here.
    pub(crate) fn shard(&self, number: u32) -> Option<Arc<Shard>> {
        self.place(number)?.shard()
    }

    /// Where the shard of this number is, or would be.
    pub(crate) fn place(&self, number: u32) -> Option<&Place> {
        let id = self.shard_id(number)?;
        Some(&self.places[id.index()])
    }

    /// Adds up what a shard takes, where somebody wants to know.
    pub(crate) fn timer(&self, shard: ShardId) -> Timer {
        let busy = self.busy.as_ref();
        busy.map(|busy| busy.timer(shard)).unwrap_or_default()
    }

    /// What a shard takes, as a share of one core's time.
    pub(crate) fn load(&self, shard: ShardId) -> Option<f64> {
        let busy = self.busy.as_ref()?;
        Some(f64::from(busy.load(shard)) / 1_000_000.0)
    }

    /// The shards served here, as a Hello says it.
    pub(crate) fn owned_now(&self) -> Vec<Owned> {
        let owned = self.shards().map(|shard| Owned {
            shard: shard.id.get().into(),
            epoch: shard.epoch.get(),
        });
        owned.collect()
    }

    /// All shards of the cluster.
    pub(crate) fn places(&self) -> impl Iterator<Item = ShardId> + use<> {
        self.count.iter()
    }

    /// Where a shard is, or would be.
    pub(crate) fn place_of(&self, shard: ShardId) -> &Place {
        &self.places[shard.index()]
    }

    /// How many shards the cluster has.
    pub(crate) const fn count(&self) -> ShardCount {
        self.count
    }

    /// How long a session is kept unused, or what stands for one.
    pub(crate) fn idle(&self, is_session: bool) -> Duration {
        match is_session {
            true => self.session_idle,
            false => BRIDGE_IDLE.min(self.session_idle),
        }
    }

    /// The shard of this number, if the cluster has it.
    pub(crate) fn shard_id(&self, number: u32) -> Option<ShardId> {
        self.count.shard(u16::try_from(number).ok()?)
    }

    /// Waits for the drain.
    pub(crate) async fn drained(&self) {
        self.draining.cancelled().await;
    }

    /// Ends all upstream sessions with an upstream that is served no more.
    pub(crate) async fn leave(&self, upstream: &Upstream) {
        let sessions = self.shards().flat_map(|shard| shard.sessions());
        join_all(sessions.map(|session| async move { session.leave(upstream).await })).await;
    }

    /// The state of the exchange's session, or what stands for one where a
    /// modern client meets legacy upstreams. `None` for a deleted session.
    pub(crate) fn session(&self, call: &Call) -> Option<Arc<Session>> {
        let owner = (call.client, call.principal);
        let make = |facts, idle| Session::new(facts, idle, TaskNames::new(owner.0, owner.1));
        let bridge = || make(bridge_facts(), BRIDGE_IDLE.min(self.session_idle));
        match (&call.claims, call.era()) {
            (Some(claims), _) => call.shard.session(claims, || {
                let facts = ClientFacts::from_claims(claims);
                let ledger = call.shard.ledger().map(|ledger| {
                    let bare = record::bare(Some(claims.key), owner, &facts);
                    SessionLedger::of(Arc::clone(ledger), claims.key, &bare)
                });
                let session = make(facts, self.session_idle);
                session.recorded_in(Some(claims.key), ledger.map(Arc::new))
            }),
            (None, Era::Modern) if call.once || !self.needs_bridge() => {
                Some(Arc::new(bridge().passing()))
            }
            (None, Era::Modern) => Some(call.shard.bridge(call.client, call.principal, bridge)),
            (None, Era::Legacy) => None,
        }
    }

    /// Whether a modern client needs sessions at the upstreams.
    fn needs_bridge(&self) -> bool {
        let federation = self.federation();
        let mut upstreams = federation.all().iter();
        upstreams.any(|upstream| !upstream.is_stateless_in(Era::Modern))
    }

    /// Closes the upstream sessions of clients that have been quiet, and forgets deleted
    /// sessions that have expired.
    pub(crate) async fn sweep(&self) {
        let now = clock::unix_seconds();
        self.shards().for_each(|shard| shard.forget_dead(now));
        self.close(|session| {
            session.streams.expire();
            let is_idle = session.is_idle();
            if is_idle {
                // Under the shard's lock: who comes back is recorded after it.
                session.forget_record();
            }
            is_idle
        })
        .await;
    }

    /// Closes the upstream sessions that nobody else knows of.
    pub(crate) async fn close_all(&self) {
        self.close(|session| !session.is_recorded()).await;
    }

    async fn close(&self, which: impl Fn(&Arc<Session>) -> bool) {
        let taken = self.shards().flat_map(|shard| shard.take(&which));
        join_all(taken.map(|session| async move { session.close().await })).await;
    }
}

/// Upstream sessions of a modern client are kept this long between requests:
/// nothing in its era says that it will come back.
const BRIDGE_IDLE: Duration = Duration::from_secs(20);
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
