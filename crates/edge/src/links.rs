//! The edge's links, one to each worker of the directory: connected, greeted,
//! read and connected again when they break.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use hexagram_core::{ShardId, ShardMap, WorkerId};
use hexagram_mcp::error::Problem;
use hexagram_proto::link::link_client::LinkClient;
use hexagram_proto::link::{Announce, EdgeFrame, Hello, WorkerFrame};
use hexagram_proto::{HELLO_TIMEOUT, HelloError, agree, frames, hello, outbox, settings};
use hexagram_runtime::health::Condition;
use hexagram_runtime::random::jittered;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::EdgeContext;
use crate::link::{Link, worker_down};
use crate::metrics::EdgeMetrics;
use crate::slot::Loss;

/// Seconds after which an edge is ready although some workers are not linked.
const READY_ANYWAY: u64 = 5;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How a worker is reached.
#[derive(Debug, Clone)]
pub enum WorkerAddress {
    /// `host:port` of its gRPC server.
    Tcp(String),
    /// In this process, over in-memory pipes: the link code is the same.
    Pipe(mpsc::Sender<DuplexStream>),
}

/// Where every shard lives and how its worker is reached.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Who owns which shard.
    pub map: ShardMap,
    /// The workers' addresses.
    pub workers: HashMap<WorkerId, WorkerAddress>,
}

/// A link as `/status` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LinkStatus {
    /// The worker at the other end.
    pub worker: String,
    /// Whether messages can be sent now.
    pub up: bool,
    /// The worker's incarnation, once greeted.
    pub incarnation: Option<String>,
    /// Exchanges under way.
    pub in_flight: usize,
}

impl WorkerAddress {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(ours), Self::Tcp(theirs)) => ours == theirs,
            (Self::Pipe(ours), Self::Pipe(theirs)) => ours.same_channel(theirs),
            _ => false,
        }
    }
}

#[derive(Debug)]
struct WorkerLink {
    address: WorkerAddress,
    live: Arc<ArcSwapOption<Link>>,
    task: JoinHandle<()>,
}

impl Drop for WorkerLink {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(link) = self.live.swap(None) {
            link.fail(Loss::Worker);
        }
    }
}

#[derive(Debug)]
struct Routes {
    map: ShardMap,
    links: HashMap<WorkerId, Arc<WorkerLink>>,
    // The owner's link by shard, so that a message looks nothing up by name.
    owners: Vec<Option<Arc<WorkerLink>>>,
}

impl Routes {
    fn new(map: ShardMap, links: HashMap<WorkerId, Arc<WorkerLink>>) -> Self {
        let owner = |shard| links.get(&map.assignment(shard).owner).cloned();
        let owners = map.count().iter().map(owner).collect();
        Self { map, links, owners }
    }
}

/// All links of an edge.
pub(crate) struct Links {
    routes: ArcSwap<Routes>,
    hello: Hello,
    metrics: Arc<EdgeMetrics>,
    ready: Condition,
    // Whether all workers were linked at one time.
    complete: CancellationToken,
}

impl Links {
    pub(crate) fn new(context: &EdgeContext, metrics: Arc<EdgeMetrics>) -> Self {
        let ready = context.health.condition("links");
        ready.set(false, "no link to a worker is up yet");
        let map = context.directory.borrow().map.clone();
        Self {
            routes: ArcSwap::from_pointee(Routes::new(map, HashMap::new())),
            hello: Hello {
                key_fingerprints: context.sealer.fingerprints(),
                ..hello(
                    &context.cluster,
                    &context.name,
                    context.shards,
                    context.incarnation,
                    &[],
                )
            },
            metrics,
            ready,
            complete: CancellationToken::new(),
        }
    }

    /// Who this edge is and what it takes for true now.
    fn hello(&self) -> Hello {
        Hello {
            map_fingerprint: Some(self.routes.load().map.fingerprint()),
            ..self.hello.clone()
        }
    }

    /// The live link to the owner of `shard`.
    ///
    /// # Errors
    /// The refusal for the client while there is none.
    pub(crate) fn owner(&self, shard: ShardId) -> Result<Arc<Link>, Problem> {
        let routes = self.routes.load();
        routes.owners[shard.index()]
            .as_ref()
            .and_then(|link| link.live.load_full())
            .ok_or_else(|| worker_down(&routes.map.assignment(shard).owner))
    }

    /// Waits until every worker was linked, at most five seconds: a client that
    /// came sooner would be told that a worker is down which is not.
    pub(crate) async fn complete(&self) {
        self.complete.cancelled().await;
    }

    /// Ends every exchange: the edge has drained for as long as it may.
    pub(crate) fn fail(&self) {
        for link in self.routes.load().links.values() {
            if let Some(live) = link.live.load_full() {
                live.fail(Loss::Edge);
            }
        }
    }

    /// Counts the seconds in which exchanges are quiet.
    pub(crate) async fn keep_time(self: Arc<Self>, keep_alive: u64) {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for second in 0u64.. {
            seconds.tick().await;
            if second == READY_ANYWAY {
                // A worker that is down must not keep new edges from serving
                // the others' shards.
                self.complete.cancel();
                self.report_readiness();
            }
            for link in self.routes.load().links.values() {
                if let Some(live) = link.live.load_full() {
                    live.tick(keep_alive);
                }
            }
        }
    }

    /// Connects to the workers of the directory, now and at each change.
    pub(crate) async fn follow(self: Arc<Self>, mut directory: watch::Receiver<Arc<Directory>>) {
        loop {
            let current = Arc::clone(&directory.borrow_and_update());
            self.apply(&current);
            if directory.changed().await.is_err() {
                // The source is gone; what is known keeps serving.
                std::future::pending::<()>().await;
            }
        }
    }

    fn apply(self: &Arc<Self>, directory: &Directory) {
        let old = self.routes.load_full();
        let links = directory
            .workers
            .iter()
            .map(|(id, address)| {
                let old = old.links.get(id).filter(|link| link.address.same(address));
                let link = old.map(Arc::clone);
                (id.clone(), link.unwrap_or_else(|| self.start(id, address)))
            })
            .collect();
        let routes = Routes::new(directory.map.clone(), links);
        self.routes.store(Arc::new(routes));
    }

    fn start(self: &Arc<Self>, id: &WorkerId, address: &WorkerAddress) -> Arc<WorkerLink> {
        let live = Arc::new(ArcSwapOption::empty());
        let driver = Driver {
            id: id.clone(),
            address: address.clone(),
            live: Arc::clone(&live),
            links: Arc::clone(self),
        };
        Arc::new(WorkerLink {
            address: address.clone(),
            live,
            task: tokio::spawn(driver.run()),
        })
    }

    /// Ready once every worker was linked; from then on as long as one is, for
    /// the others' shards are refused at once and the rest must go on.
    fn report_readiness(&self) {
        let links = self.status();
        let up = links.iter().filter(|link| link.up).count();
        self.metrics
            .links_up
            .set(i64::try_from(up).unwrap_or(i64::MAX));
        if up == links.len() {
            self.complete.cancel();
        }
        let ready = up > 0 && self.complete.is_cancelled();
        self.ready
            .set(ready, format!("{up} of {} workers linked", links.len()));
    }

    pub(crate) fn status(&self) -> Vec<LinkStatus> {
        let routes = self.routes.load();
        let mut all: Vec<_> = routes
            .links
            .iter()
            .map(|(id, link)| {
                let live = link.live.load_full();
                LinkStatus {
                    worker: id.to_string(),
                    up: live.is_some(),
                    incarnation: live
                        .as_ref()
                        .and_then(|link| link.incarnation())
                        .map(|incarnation| incarnation.to_string()),
                    in_flight: live.map_or(0, |link| link.in_flight()),
                }
            })
            .collect();
        all.sort_by(|a, b| a.worker.cmp(&b.worker));
        all
    }
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("{0}")]
    Refused(#[from] HelloError),
    #[error("{0:?} answers there: the address is another worker's")]
    OtherWorker(String),
    #[error("no Hello within {} s", HELLO_TIMEOUT.as_secs())]
    Silent,
    #[error("the worker refuses this edge and says: {0}")]
    RefusedByWorker(String),
    #[error("{}", .0.message())]
    Status(Box<tonic::Status>),
}

impl From<tonic::Status> for LinkError {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::FailedPrecondition => Self::RefusedByWorker(status.message().to_owned()),
            _ => Self::Status(Box::new(status)),
        }
    }
}

/// Keeps one link up.
struct Driver {
    id: WorkerId,
    address: WorkerAddress,
    live: Arc<ArcSwapOption<Link>>,
    links: Arc<Links>,
}

impl Driver {
    async fn run(self) {
        let mut pause = FIRST_RETRY;
        loop {
            match self.connect().await {
                Ok((link, frames)) => {
                    pause = FIRST_RETRY;
                    self.serve(link, frames).await;
                }
                Err(error) => {
                    tracing::warn!(worker = %self.id, %error, retry_in = ?pause, "cannot link to worker");
                }
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    async fn connect(&self) -> Result<(Arc<Link>, Streaming<WorkerFrame>), LinkError> {
        let channel = dial(&self.address).await?;
        let mut client = LinkClient::new(channel)
            .max_decoding_message_size(settings::MAX_FRAME)
            .max_encoding_message_size(settings::MAX_FRAME);
        let (out, drained) = outbox();
        let ours = self.links.hello();
        let greeting = async {
            let request = frames::<EdgeFrame>(ours.clone(), drained);
            let mut incoming = client.connect(request).await?.into_inner();
            let first = incoming.message().await?;
            let hello = first.and_then(|frame| frame.hello);
            Ok::<_, LinkError>((hello.ok_or(HelloError::Missing)?, incoming))
        };
        let (hello, incoming) = tokio::time::timeout(HELLO_TIMEOUT, greeting)
            .await
            .map_err(|_| LinkError::Silent)??;
        agree(&ours, &hello)?;
        if hello.name != self.id.to_string() {
            return Err(LinkError::OtherWorker(hello.name));
        }
        Ok((Arc::new(Link::new(self.id.clone(), &hello, out)), incoming))
    }

    /// Tells the other workers what this one has announced.
    fn pass_on(&self, from: &Arc<Link>, announcements: Vec<Announce>) {
        for announce in announcements {
            for other in self.links.routes.load().links.values() {
                let other = other.live.load();
                if let Some(link) = other.as_ref().filter(|link| !Arc::ptr_eq(link, from)) {
                    link.announce(announce.clone());
                }
            }
        }
    }

    async fn serve(&self, link: Arc<Link>, mut frames: Streaming<WorkerFrame>) {
        tracing::info!(worker = %self.id, "link up");
        self.live.store(Some(Arc::clone(&link)));
        self.links.report_readiness();
        let reason = loop {
            match frames.message().await {
                Ok(Some(frame)) => self.pass_on(&link, link.deliver(frame.messages)),
                Ok(None) => break "closed by the worker".to_owned(),
                Err(status) => break status.message().to_owned(),
            }
        };
        self.live.store(None);
        link.fail(Loss::Worker);
        self.links.report_readiness();
        tracing::warn!(worker = %self.id, reason, "link down");
    }
}

async fn dial(address: &WorkerAddress) -> Result<Channel, tonic::transport::Error> {
    match address {
        WorkerAddress::Tcp(host) => endpoint(format!("http://{host}"))?.connect().await,
        WorkerAddress::Pipe(pipe) => {
            let pipe = pipe.clone();
            let connector = service_fn(move |_| {
                let pipe = pipe.clone();
                async move {
                    let (ours, theirs) = tokio::io::duplex(settings::STREAM_WINDOW as usize);
                    pipe.send(theirs)
                        .await
                        .map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
                    Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(ours))
                }
            });
            endpoint("http://pipe".to_owned())?
                .connect_with_connector(connector)
                .await
        }
    }
}

fn endpoint(uri: String) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(uri)?
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(settings::STREAM_WINDOW)
        .initial_connection_window_size(settings::CONNECTION_WINDOW)
        .http2_keep_alive_interval(settings::KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(settings::KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}
