//! Connects exchanges to links: the owner's live link for every shard, and who
//! waits for one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use hexagram_core::{Epoch, ShardId, ShardMap, WorkerId};
use hexagram_mcp::error::Problem;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::link::{Link, RETRY_AFTER_MS, worker_down};
use crate::metrics::EdgeMetrics;
use crate::parking::ParkingLot;
use crate::rings::Rings;
use crate::routes::{News, Routes, Way};
use crate::routing::Routed;
use crate::slot::{Loss, Slot};
use crate::trouble::Trouble;
use hexagram_proto::{STEPS, WorkerAddress};

/// A shard that moves admits again within this time, or its messages are
/// refused (DESIGN 7).
const MOVE_WAIT: Duration = Duration::from_millis(250);
/// A client of a shard in quarantine should wait this long, in ms: it lasts for
/// minutes, unless somebody ends it.
const QUARANTINE_RETRY_MS: u64 = 60_000;
/// An owner that is lost has a successor within this time (DESIGN 8).
pub(crate) const LOSS_WAIT: Duration = Duration::from_secs(3);

/// The shards as an edge knows them now.
#[derive(Debug, Clone, serde::Serialize)]
pub struct MapStatus {
    /// Version of the newest map that the directory gave.
    pub map_version: u64,
    /// All shards in order.
    pub shards: Vec<RouteStatus>,
}

/// A shard as `/status` shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RouteStatus {
    /// The shard's number.
    pub shard: u16,
    /// Its owner's name.
    pub owner: String,
    /// The owner's epoch, once heard of.
    pub epoch: Option<u64>,
    /// Whether its messages are parked because it admits nothing now.
    pub moving: bool,
    /// Whether its messages are refused: nobody is to serve it.
    pub quarantined: bool,
}

/// A worker's address and its link while one is up, or else why none is.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    pub(crate) address: WorkerAddress,
    pub(crate) live: Arc<ArcSwapOption<Link>>,
    pub(crate) trouble: Arc<Trouble>,
    pub(crate) task: JoinHandle<()>,
}

impl Drop for WorkerLink {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(link) = self.live.swap(None) {
            link.fail(Loss::Worker);
        }
    }
}

pub(crate) type WorkerLinks = HashMap<WorkerId, Arc<WorkerLink>>;

/// Routes and links of one moment.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) map: ShardMap,
    pub(crate) routes: Routes,
    pub(crate) links: Arc<WorkerLinks>,
    // The owner's link by shard, so that a message looks nothing up by name.
    owners: Vec<Option<Arc<WorkerLink>>>,
}

impl State {
    fn new(map: ShardMap, routes: Routes, links: Arc<WorkerLinks>) -> Self {
        let owner = |way: &Way| links.get(way.owner()).cloned();
        let owners = routes.iter().map(owner).collect();
        Self {
            map,
            routes,
            links,
            owners,
        }
    }

    /// Whether nobody is to serve the shard, as far as this edge has heard.
    fn is_quarantined(&self, shard: ShardId) -> bool {
        let assignment = self.map.assignment(shard);
        assignment.quarantined && self.routes.way(shard).epoch() <= assignment.epoch
    }

    fn live(&self, shard: ShardId) -> Option<Arc<Link>> {
        self.owners[shard.index()].as_ref()?.live.load_full()
    }
}

/// An exchange's place on a link.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) link: Arc<Link>,
    pub(crate) number: u64,
    pub(crate) slot: Arc<Slot>,
    pub(crate) epoch: Epoch,
}

/// Why a message cannot be sent now.
#[derive(Debug)]
pub(crate) struct Obstacle {
    /// What to tell its client in the end.
    pub(crate) problem: Problem,
    /// How long to wait for a change. Zero: nothing will change.
    pub(crate) wait: Duration,
    /// Even who would wait longer is told at once.
    pub(crate) is_final: bool,
}

/// All that exchanges and links share.
#[derive(Debug)]
pub(crate) struct Switchboard {
    state: ArcSwap<State>,
    // Held while the state is replaced by one made from it.
    changing: Mutex<()>,
    changed: watch::Sender<()>,
    pub(crate) closing: CancellationToken,
    pub(crate) lot: Arc<ParkingLot>,
    pub(crate) rings: Rings,
    pub(crate) metrics: Arc<EdgeMetrics>,
}

impl Switchboard {
    /// One with the routes of `map` and no links.
    pub(crate) fn new(map: ShardMap, metrics: Arc<EdgeMetrics>) -> Self {
        let lot = ParkingLot::new(map.count(), metrics.parked.clone());
        let routes = Routes::new(&map);
        Self {
            state: ArcSwap::from_pointee(State::new(map, routes, Arc::default())),
            changing: Mutex::default(),
            changed: watch::Sender::default(),
            closing: CancellationToken::new(),
            lot: Arc::new(lot),
            rings: Rings::default(),
            metrics,
        }
    }

    pub(crate) fn state(&self) -> Guard<Arc<State>> {
        self.state.load()
    }

    /// The links that are up.
    pub(crate) fn live(&self) -> Vec<Arc<Link>> {
        let state = self.state.load();
        let links = state.links.values();
        links.filter_map(|link| link.live.load_full()).collect()
    }

    /// Ends every exchange: the edge has drained for as long as it may.
    pub(crate) fn fail(&self) {
        self.closing.cancel();
        for link in self.live() {
            link.fail(Loss::Edge);
        }
    }

    /// Whoever waits looks again at each change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn tell(&self) {
        self.changed.send_replace(());
    }

    /// Follows a new directory; `link` makes the link to a worker, given the
    /// old ones.
    pub(crate) fn assign(
        &self,
        map: &ShardMap,
        link: impl FnOnce(&Routes, &WorkerLinks) -> WorkerLinks,
    ) {
        let changing = self.changing.lock();
        let old = self.state.load_full();
        let mut routes = old.routes.clone();
        routes.assign(map, |owner, shard| {
            old.links.get(owner)?.live.load().as_ref()?.epoch(shard)
        });
        let links = link(&routes, &old.links);
        self.replace(&old, State::new(map.clone(), routes, Arc::new(links)));
        drop(changing);
        self.tell();
    }

    fn replace(&self, old: &State, new: State) {
        for (shard, way) in new.routes.later_than(&old.routes) {
            let epoch = way.epoch().map(Epoch::get);
            tracing::trace!(target: STEPS, step = "seen", shard, epoch);
        }
        self.state.store(Arc::new(new));
    }

    /// A worker is linked: what its Hello says of shards.
    pub(crate) fn greet(&self, link: &Link) {
        self.change(|routes| routes.greet(link.worker(), |shard| link.epoch(shard)));
        // A link that comes up is a change for those who wait for it.
        self.tell();
    }

    /// Takes in what a worker said of shards.
    pub(crate) fn hear(&self, news: Vec<News>) {
        if news.is_empty() {
            return;
        }
        let all = |routes: &mut Routes| {
            let changes = news.into_iter().map(|news| routes.hear(news));
            changes.fold(false, |any, changed| any | changed)
        };
        if self.change(all) {
            self.tell();
        }
    }

    fn change(&self, change: impl FnOnce(&mut Routes) -> bool) -> bool {
        let _changing = self.changing.lock();
        let old = self.state.load_full();
        let mut routes = old.routes.clone();
        let changed = change(&mut routes);
        if changed {
            let state = State::new(old.map.clone(), routes, Arc::clone(&old.links));
            self.replace(&old, state);
        }
        changed
    }

    /// Sends a message to its shard's owner; `after`: to one in a higher epoch.
    ///
    /// # Errors
    /// [`Obstacle`] while there is none; nothing was sent.
    pub(crate) fn attach(
        &self,
        routed: &Routed,
        after: Option<Epoch>,
    ) -> Result<Attached, Obstacle> {
        let state = self.state.load();
        let way = state.routes.way(routed.shard);
        if state.is_quarantined(routed.shard) {
            return Err(Obstacle::quarantined());
        }
        let wait = if way.is_fixed() {
            Duration::ZERO
        } else {
            LOSS_WAIT
        };
        let down = |problem| Obstacle {
            problem,
            wait,
            is_final: false,
        };
        let link = state.live(routed.shard);
        let link = link.ok_or_else(|| down(worker_down(way.owner())))?;
        if way.is_moving() {
            return Err(Obstacle::moving(MOVE_WAIT));
        }
        let epoch = way.epoch().filter(|epoch| Some(*epoch) > after);
        let epoch = epoch.ok_or_else(|| Obstacle::moving(wait))?;
        let (number, slot) = link
            .open(routed.message(epoch), routed.begins)
            .map_err(down)?;
        self.metrics.exchanges.inc();
        Ok(Attached {
            link,
            number,
            slot,
            epoch,
        })
    }

    /// Whether another worker may come to serve `shard` by itself.
    pub(crate) fn may_move(&self, shard: ShardId) -> bool {
        !self.state.load().routes.way(shard).is_fixed()
    }

    /// Whether `shard` is served in a higher epoch than this.
    pub(crate) fn is_past(&self, shard: u32, epoch: u64) -> bool {
        let state = self.state.load();
        let way = state.routes.iter().nth(shard as usize);
        let now = way.and_then(Way::epoch);
        now.is_some_and(|now| now.get() > epoch)
    }

    pub(crate) fn status(&self) -> MapStatus {
        let state = self.state.load();
        let ways = state.map.count().iter().zip(state.routes.iter());
        let status = |(shard, way): (ShardId, &Way)| RouteStatus {
            shard: shard.get(),
            owner: way.owner().to_string(),
            epoch: way.epoch().map(Epoch::get),
            moving: way.is_moving(),
            quarantined: state.is_quarantined(shard),
        };
        MapStatus {
            map_version: state.map.version(),
            shards: ways.map(status).collect(),
        }
    }
}

impl Obstacle {
    fn quarantined() -> Self {
        let retry_after_ms = QUARANTINE_RETRY_MS;
        Self {
            problem: Problem::ShardQuarantined { retry_after_ms },
            wait: Duration::ZERO,
            is_final: true,
        }
    }

    fn moving(wait: Duration) -> Self {
        let retry_after_ms = RETRY_AFTER_MS;
        Self {
            problem: Problem::Moving { retry_after_ms },
            wait,
            is_final: false,
        }
    }
}
