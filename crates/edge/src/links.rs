//! The edge's links, one to each worker of the directory. Each has a driver that keeps
//! it up.

mod driver;
mod readiness;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hexagram_core::{Sealer, WorkerId};
use hexagram_proto::hello;
use hexagram_proto::link::Hello;
use hexagram_runtime::health::Condition;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::EdgeContext;
use crate::directory::Directory;
use crate::routes::Way;
use crate::switchboard::{Switchboard, WorkerLink, WorkerLinks};
use driver::Driver;
use hexagram_proto::WorkerAddress;
use readiness::Seen;

/// Seconds after which an edge is ready although some workers are not linked.
const READY_ANYWAY: u64 = 5;

/// A link as `/status` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LinkStatus {
    /// The worker at the other end.
    pub worker: String,
    /// Whether messages can be sent now.
    pub up: bool,
    /// The worker's incarnation, once greeted.
    pub incarnation: Option<String>,
    /// The link version that both sides speak, once greeted.
    pub version: Option<u32>,
    /// Exchanges under way.
    pub in_flight: usize,
    /// Why it is not up, as of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// All links of an edge.
pub(crate) struct Links {
    board: Arc<Switchboard>,
    hello: Hello,
    sealer: Arc<Sealer>,
    ready: Condition,
    // Whether all workers were linked at one time.
    complete: CancellationToken,
    // When an owner of shards was linked last.
    served: Mutex<Option<Instant>>,
}

impl Links {
    pub(crate) fn new(context: &EdgeContext, board: Arc<Switchboard>) -> Self {
        let ready = context.health.condition("links");
        ready.set(false, "no link to a worker is up yet");
        Self {
            board,
            sealer: Arc::clone(&context.sealer),
            hello: Hello {
                link_version_max: context.link_version,
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
            served: Mutex::default(),
        }
    }

    /// Who this edge is and what it takes for true now, its key ring too. Only a static map
    /// is the same everywhere.
    fn hello(&self) -> Hello {
        let state = self.board.state();
        let fixed = state.routes.iter().all(Way::is_fixed);
        Hello {
            key_fingerprints: self.sealer.fingerprints(),
            map_fingerprint: fixed.then(|| state.map.fingerprint()),
            ..self.hello.clone()
        }
    }

    /// Waits until every worker was linked, at most five seconds: a client that
    /// came sooner would be told that a worker is down which is not.
    pub(crate) async fn complete(&self) {
        self.complete.cancelled().await;
    }

    /// Counts the seconds in which exchanges are quiet, tells workers and streams of a key
    /// ring that has changed in one, and says whether this edge is ready.
    pub(crate) async fn keep_time(self: Arc<Self>, keep_alive: u64) {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for second in 0u64.. {
            seconds.tick().await;
            if second == READY_ANYWAY {
                // A worker that is down must not keep new edges from serving
                // the others' shards.
                self.complete.cancel();
            }
            self.report_readiness();
            self.board.rings.tell(self.sealer.rings());
            let keys = self.sealer.fingerprints();
            for link in self.board.live() {
                link.tick(keep_alive);
                link.tell_keys(&keys);
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
        let (live, trouble) = (Arc::new(ArcSwapOption::empty()), Arc::default());
        let (links, up, down) = (Arc::clone(self), Arc::clone(&live), Arc::clone(&trouble));
        let driver = Driver::new(id.clone(), address.clone(), up, down, links);
        Arc::new(WorkerLink {
            address: address.clone(),
            live,
            trouble,
            task: tokio::spawn(driver.run()),
        })
    }

    /// Ready once every worker was linked; from then on as long as one is that owns shards,
    /// or was a moment ago.
    fn report_readiness(&self) {
        // Held to the end, so that the latest look has the last word.
        let mut served = self.served.lock();
        let links = self.status();
        let state = self.board.state();
        let owners: HashSet<_> = state
            .routes
            .iter()
            .map(|way| way.owner().as_str())
            .collect();
        let see = |link| seen(link, &owners);
        let workers: Vec<_> = links.iter().map(see).collect();
        let linked = readiness::count_linked(&workers);
        self.board
            .metrics
            .links_up
            .set(i64::try_from(linked).unwrap_or(i64::MAX));
        if linked == workers.len() && linked > 0 {
            self.complete.cancel();
        }
        if readiness::serves(&workers) {
            *served = Some(Instant::now());
        }
        let ago = served.map(|served| served.elapsed());
        let ready = readiness::is_ready(self.complete.is_cancelled(), ago);
        self.ready.set(ready, readiness::why(&workers));
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
                    version: live.as_ref().map(|link| link.version()),
                    trouble: link.trouble.now().filter(|_| live.is_none()),
                    in_flight: live.map_or(0, |link| link.in_flight()),
                }
            })
            .collect();
        all.sort_by(|a, b| a.worker.cmp(&b.worker));
        all
    }
}

fn seen<'a>(link: &'a LinkStatus, owners: &HashSet<&str>) -> Seen<'a> {
    Seen {
        name: &link.worker,
        is_linked: link.up,
        owns_shards: owners.contains(link.worker.as_str()),
        trouble: link.trouble.as_deref(),
    }
}
