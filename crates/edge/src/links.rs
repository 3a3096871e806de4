//! The edge's links, one to each worker of the directory: connected, greeted,
//! read and connected again when they break.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hexagram_core::WorkerId;
use hexagram_proto::link::link_client::LinkClient;
use hexagram_proto::link::{Announce, EdgeFrame, Hello, WorkerFrame, WorkerMessage};
use hexagram_proto::{HELLO_TIMEOUT, HelloError, agree, frames, hello, outbox, settings};
use hexagram_runtime::health::Condition;
use hexagram_runtime::random::jittered;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::EdgeContext;
use crate::directory::Directory;
use crate::link::Link;
use crate::routes::Way;
use crate::slot::Loss;
use crate::switchboard::{Switchboard, WorkerLink, WorkerLinks};
use hexagram_proto::WorkerAddress;

/// Seconds after which an edge is ready although some workers are not linked.
const READY_ANYWAY: u64 = 5;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

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

/// All links of an edge.
pub(crate) struct Links {
    board: Arc<Switchboard>,
    hello: Hello,
    ready: Condition,
    // Whether all workers were linked at one time.
    complete: CancellationToken,
}

impl Links {
    pub(crate) fn new(context: &EdgeContext, board: Arc<Switchboard>) -> Self {
        let ready = context.health.condition("links");
        ready.set(false, "no link to a worker is up yet");
        Self {
            board,
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
            ready,
            complete: CancellationToken::new(),
        }
    }

    /// Who this edge is and what it takes for true now. Only a static map is
    /// the same everywhere.
    fn hello(&self) -> Hello {
        let state = self.board.state();
        let fixed = state.routes.iter().all(Way::is_fixed);
        Hello {
            map_fingerprint: fixed.then(|| state.map.fingerprint()),
            ..self.hello.clone()
        }
    }

    /// Waits until every worker was linked, at most five seconds: a client that
    /// came sooner would be told that a worker is down which is not.
    pub(crate) async fn complete(&self) {
        self.complete.cancelled().await;
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
            for link in self.board.live() {
                link.tick(keep_alive);
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
        self.board.assign(&directory.map, |routes, old| {
            let link = |(id, address): (&WorkerId, &WorkerAddress)| {
                let old = old.get(id).filter(|link| link.address.same(address));
                let link = old.map_or_else(|| self.start(id, address), Arc::clone);
                (id.clone(), link)
            };
            let mut links: WorkerLinks = directory.workers.iter().map(link).collect();
            // An owner that an outdated directory lacks keeps its link.
            for owner in routes.iter().map(Way::owner) {
                if let Some(link) = old.get(owner) {
                    let link = || Arc::clone(link);
                    links.entry(owner.clone()).or_insert_with(link);
                }
            }
            links
        });
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
        self.board
            .metrics
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
        let state = self.board.state();
        let mut all: Vec<_> = state
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
        let channel = self.address.dial().await?;
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
            let live = self.links.board.live();
            for other in live.iter().filter(|link| !Arc::ptr_eq(link, from)) {
                other.announce(announce.clone());
            }
        }
    }

    fn hear(&self, link: &Arc<Link>, messages: Vec<WorkerMessage>) {
        self.links.board.hear(link.news(&messages));
        self.pass_on(link, link.deliver(messages));
    }

    async fn serve(&self, link: Arc<Link>, mut frames: Streaming<WorkerFrame>) {
        tracing::info!(worker = %self.id, "link up");
        self.live.store(Some(Arc::clone(&link)));
        self.links.board.greet(&link);
        self.links.report_readiness();
        let reason = loop {
            match frames.message().await {
                Ok(Some(frame)) => self.hear(&link, frame.messages),
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
