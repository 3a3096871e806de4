//! The worker: hosts shards, their sessions, and what answers them.
//!
//! ```text
//! link -> host -> shard -> answer (handshakes, native handlers)
//!                       -> forward -> session -> upstream
//!                       -> standing (GET)  <-
//! ```
//!
//! A message runs where it arrived: no task, queue or mailbox belongs to a shard.

mod across;
mod admin;
mod admit;
mod answer;
mod args;
mod batch;
mod busy;
mod changes;
mod dispatch;
mod edges;
mod facts;
mod federation;
mod filter;
mod followers;
mod former;
mod forward;
mod gone;
mod handles;
mod handoff;
mod hearing;
mod host;
mod kept;
mod last_words;
mod ledger;
mod levels;
mod line;
mod link;
mod list_cache;
mod listen;
mod measuring;
mod merged;
mod meter;
mod metrics;
mod missed;
mod neighbour;
mod new_owner;
mod one_way;
mod opening;
mod outlet;
mod pause;
mod peer;
mod place;
mod polled;
mod pulse;
mod raw;
mod record;
mod relay;
mod reload;
mod reopen;
mod replay;
mod reply;
mod rest;
mod resume;
mod revisit;
mod saying;
mod session;
mod shard;
mod sights;
mod standing;
mod standing_modern;
mod stream;
mod streams;
mod subscriptions;
mod successor;
mod task_names;
mod tended;
mod transcript;
mod upstream;
mod upstream_listen;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hexagram_core::{
    CLOCK_SKEW_SECS, Epoch, Incarnation, Owner, Sealer, ShardCount, ShardId, WorkerId,
};
use hexagram_proto::admin::admin_server::AdminServer;
use hexagram_proto::link::Hello;
use hexagram_proto::link::link_server::LinkServer;
use hexagram_proto::{Wire, hello, settings};
use hexagram_runtime::drain::DrainArgs;
use hexagram_store::{Health, Store};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use admin::AdminService;
use federation::Federation;
use handoff::{Handoffs, Storage, TakeService};
use peer::{Known, only};
use wire::Wired;

pub use args::UpstreamArgs;
pub use changes::{Change, Changes};
pub use federation::FederationError;
pub use handoff::{Membership, ReadMap};
pub use hexagram_upstreams::{
    EraRule, EraSetting, Retry, RetryRule, UpstreamName, UpstreamSpec, UpstreamTarget,
};
pub use kept::Kept;
pub use meter::UpstreamStatus;
pub use metrics::WorkerMetrics;
pub use peer::Peer;
pub use reload::Replaced;
pub use upstream::{
    ChildLimit, Export, HandlerFactory, LastError, NativeHandler, NativeRequest, Pipe, Portable,
    ServerInfo, ToolCount, Upstream, UpstreamError, UpstreamHealth, UpstreamLimits, carry_over,
    close_stream, handler, handler_without_tasks, portable_handler,
};

/// How often idle sessions are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// How long edges may take to learn that this worker drains.
const NOTICE: Duration = Duration::from_secs(2);

/// How long upstreams may take to end their sessions when the worker ends.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// What the binary gives a worker beside its upstreams.
pub struct WorkerContext {
    /// The cluster's id; links from another cluster are refused.
    pub cluster: String,
    /// This worker's name.
    pub name: WorkerId,
    /// This process's incarnation.
    pub incarnation: Incarnation,
    /// Number of shards of the cluster.
    pub shards: ShardCount,
    /// Newest link version to speak; the build's newest is `hexagram_proto::LINK_VERSION_MAX`.
    pub link_version: u32,
    /// The shards served here from the start, each in its epoch; none where
    /// there is a register.
    pub owned: Vec<(ShardId, Epoch)>,
    /// Where this worker learns what it owns, unless that is fixed.
    pub membership: Option<Membership>,
    /// What the workers of this process share.
    pub kept: Kept,
    /// [`ShardMap::fingerprint`](hexagram_core::ShardMap::fingerprint) of the
    /// static map; edges with another are refused.
    pub map_fingerprint: Option<u64>,
    /// Mints sealed session ids.
    pub sealer: Arc<Sealer>,
    /// The bus of this process's handlers.
    pub changes: Changes,
    /// Counters of this process's workers.
    pub metrics: WorkerMetrics,
    /// Upstream sessions of a client that has been quiet this long are closed.
    pub session_idle: Duration,
    /// How this process drains.
    pub drain: DrainArgs,
    /// Where sessions outlive their worker; with a `membership` only.
    pub store: Option<Arc<dyn Store>>,
    /// How long a session's id can be presented.
    pub session_lifetime: Duration,
}

/// A shard as `/status` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ShardStatus {
    /// Number of the shard.
    pub shard: u16,
    /// Epoch in which it is served here.
    pub epoch: u64,
    /// Clients for whom something is held here.
    pub held: usize,
    /// Share of one core's time that it takes; `None` where nobody asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
}

/// Shards and their links; cheap to clone.
#[derive(Clone)]
pub struct Worker {
    host: Arc<host::Host>,
    hello: Hello,
    drain: DrainArgs,
    cluster: String,
    handoffs: Option<Arc<Handoffs>>,
}

impl Worker {
    /// A worker that answers from `upstreams`.
    ///
    /// # Errors
    /// [`FederationError`] when the upstreams do not go together.
    pub fn new(
        upstreams: Vec<Arc<Upstream>>,
        context: WorkerContext,
    ) -> Result<Self, FederationError> {
        let federation = Federation::new(upstreams, &context.metrics)?;
        let hello = Hello {
            link_version_max: context.link_version,
            map_fingerprint: context.map_fingerprint,
            ..hello(
                &context.cluster,
                context.name.as_str(),
                context.shards,
                context.incarnation,
                // Each link is told what is served when it is greeted, and of the keys.
                &[],
            )
        };
        let me = Owner {
            worker: context.name.clone(),
            incarnation: context.incarnation,
        };
        let (drain, cluster) = (context.drain.clone(), context.cluster.clone());
        let (membership, kept) = (context.membership.clone(), context.kept.clone());
        let memory = context.session_lifetime.as_secs() + CLOCK_SKEW_SECS;
        let storage = context.store.clone();
        let storage = storage.map(|store| Storage::new(store, memory));
        let host = Arc::new(host::Host::new(context, federation));
        let handoffs = membership.map(|membership| {
            let host = Arc::clone(&host);
            Handoffs::new(host, me, cluster.clone(), membership, kept, storage)
        });
        Ok(Self {
            hello,
            drain,
            cluster,
            handoffs: handoffs.map(Arc::new),
            host,
        })
    }

    /// The shards served here, by number.
    pub fn status(&self) -> Vec<ShardStatus> {
        let mut all: Vec<_> = self
            .host
            .shards()
            .map(|shard| ShardStatus {
                shard: shard.id.get(),
                epoch: shard.epoch.get(),
                held: shard.held(),
                load: self.host.load(shard.id),
            })
            .collect();
        all.sort_by_key(|status| status.shard);
        all
    }

    /// Whether the session store answers; `None` where there is none.
    pub fn store(&self) -> Option<Health> {
        let storage = self.handoffs.as_ref()?.storage.as_ref()?;
        Some(storage.health())
    }

    /// The upstreams served now, in the order of the command line.
    pub fn served(&self) -> Vec<Arc<Upstream>> {
        self.host.federation().all().to_vec()
    }

    /// What is known and was counted of each upstream, in the order of the command line.
    /// Workers that share their [`WorkerMetrics`] say the same.
    pub fn upstreams(&self) -> Vec<UpstreamStatus> {
        self.host.federation().status()
    }

    /// Asks every upstream that is not known yet to describe itself, so that the
    /// first client need not wait and people see what it is; tells what came of it.
    pub async fn probe(&self) -> Vec<(String, Result<Arc<ServerInfo>, UpstreamError>)> {
        let federation = self.host.federation();
        let new = federation.all().iter().filter(|upstream| upstream.is_new());
        let visited = futures_util::future::join_all(new.map(Upstream::first_visit)).await;
        visited.into_iter().flatten().collect()
    }

    /// Serves links of edges in this process until `shutdown`.
    ///
    /// # Errors
    /// A failure of the gRPC server.
    pub async fn serve_pipes(
        self,
        pipes: mpsc::Receiver<DuplexStream>,
        shutdown: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let incoming = ReceiverStream::new(pipes).map(Ok::<_, std::io::Error>);
        self.serve_incoming(incoming, shutdown).await
    }

    /// Serves links over whatever comes in until `shutdown`, and asks nobody who it is.
    ///
    /// # Errors
    /// A failure of the gRPC server.
    pub async fn serve_incoming<S, I, E>(
        self,
        incoming: S,
        shutdown: CancellationToken,
    ) -> Result<(), tonic::transport::Error>
    where
        S: Stream<Item = Result<I, E>>,
        I: Wire,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let unknown = |wire| Wired::new(wire, Known(None));
        self.serve(incoming.map(move |came| came.map(unknown)), shutdown)
            .await
    }

    /// The same where everybody has proved who he is: each may ask what his role needs, and
    /// is told so (`PERMISSION_DENIED`) when he asks for something else.
    ///
    /// # Errors
    /// A failure of the gRPC server.
    pub async fn serve_known<S, I, E>(
        self,
        incoming: S,
        shutdown: CancellationToken,
    ) -> Result<(), tonic::transport::Error>
    where
        S: Stream<Item = Result<(Peer, I), E>>,
        I: Wire,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let known = |(peer, wire)| Wired::new(wire, Known(Some(peer)));
        self.serve(incoming.map(move |came| came.map(known)), shutdown)
            .await
    }

    async fn serve<S, I, E>(
        self,
        incoming: S,
        shutdown: CancellationToken,
    ) -> Result<(), tonic::transport::Error>
    where
        S: Stream<Item = Result<Wired<I>, E>>,
        I: Wire,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let work = link::Work::default();
        let service =
            link::LinkService::new(Arc::clone(&self.host), self.hello.clone(), work.clone());
        let service = LinkServer::new(service)
            .max_decoding_message_size(settings::MAX_FRAME)
            .max_encoding_message_size(settings::MAX_FRAME);
        let sweeper = tokio::spawn(sweep(Arc::clone(&self.host), self.handoffs.clone()));
        let revisiting = tokio::spawn(revisit::revisit(Arc::clone(&self.host)));
        let measuring = tokio::spawn(measuring::measure(Arc::clone(&self.host)));
        let moving = self.handoffs.clone().map(moving);
        let taking = self.handoffs.clone().map(TakeService::server);
        let reporting = self.handoffs.clone().map(|handoffs| {
            AdminServer::new(AdminService {
                handoffs,
                cluster: self.cluster.clone(),
                draining: shutdown.clone(),
                done: work.done.clone(),
                watched: work.watched.clone(),
            })
        });
        let taking = taking.map(|taking| InterceptedService::new(taking, only(Peer::Worker)));
        let served = server()
            .add_service(InterceptedService::new(service, only(Peer::Edge)))
            .add_optional_service(taking)
            .add_optional_service(reporting)
            .serve_with_incoming_shutdown(incoming, work.done.clone().cancelled_owned());
        tokio::pin!(served);
        let served = tokio::select! {
            served = &mut served => served,
            () = self.drained(&shutdown, &work) => flushed(served).await,
        };
        sweeper.abort();
        revisiting.abort();
        measuring.abort();
        drop(moving);
        // An upstream that does not answer keeps nobody from ending.
        let closed = tokio::time::timeout(CLOSE_GRACE, self.host.close_all()).await;
        if closed.is_err() {
            tracing::warn!("some upstream sessions were not closed in time");
        }
        served
    }

    /// Waits until other workers serve all shards (invariant I11), at most the
    /// drain's grace. Until then this one serves as always.
    async fn given_away(&self, work: &link::Work) {
        let Some(handoffs) = &self.handoffs else {
            return;
        };
        if handoffs.must_hand_over() {
            tracing::info!(
                shards = handoffs.held_count(),
                for_at_most = ?self.drain.grace(),
                "asked to end: other workers are to take the shards first; asked once more, it ends at once"
            );
        }
        tokio::select! {
            () = handoffs.handed_over() => {}
            () = work.forsaken() => tracing::info!("neither an edge nor a controller is there: nobody needs the shards"),
            () = tokio::time::sleep(self.drain.grace()) => {
                tracing::warn!("drain grace is over, and some shards are still here");
            }
        }
    }

    /// Waits for the shutdown, then for the edges to begin nothing more, then
    /// for the exchanges that still run.
    async fn drained(&self, shutdown: &CancellationToken, work: &link::Work) {
        shutdown.cancelled().await;
        self.given_away(work).await;
        work.leaving.cancel();
        work.open.wait(NOTICE).await;
        self.host.drain();
        let left = work.running.wait(self.drain.grace()).await;
        work.done.cancel();
        if left > 0 {
            tracing::warn!(
                exchanges = left,
                "drain grace is over, ending what still runs"
            );
        }
    }
}

/// All that moves shards, for as long as the tasks are held.
fn moving(handoffs: Arc<Handoffs>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(handoff::follow(Arc::clone(&handoffs)));
    tasks.spawn(handoff::store(Arc::clone(&handoffs)));
    tasks.spawn(handoff::watch(Arc::clone(&handoffs)));
    tasks.spawn(handoff::narrate(handoffs));
    tasks
}

/// Waits until the last answers have left; an edge that does not read keeps
/// nobody from ending.
async fn flushed<E>(served: impl Future<Output = Result<(), E>>) -> Result<(), E> {
    let flushed = tokio::time::timeout(NOTICE, served).await;
    flushed.unwrap_or_else(|_| {
        tracing::warn!("some links did not end in time");
        Ok(())
    })
}

fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(settings::STREAM_WINDOW)
        .initial_connection_window_size(settings::CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(settings::KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(settings::KEEP_ALIVE_TIMEOUT))
}

async fn sweep(host: Arc<host::Host>, handoffs: Option<Arc<Handoffs>>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        host.sweep().await;
        if let Some(handoffs) = &handoffs {
            handoffs.forget_tails().await;
        }
    }
}

/// Binds the address on which edges reach a worker.
///
/// # Errors
/// The operating system's reason.
pub async fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(addr).await
}
