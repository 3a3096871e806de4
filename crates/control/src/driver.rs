//! The driver: takes in what watchers, workers and people say, decides, and
//! writes the register. All it knows can be learnt again from the register and
//! the workers' reports, except what people ordered to be drained.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hexagram_core::placement::Memory;
use hexagram_core::{Epoch, Incarnation, Owner, RegisterMap, WorkerId};
use hexagram_runtime::clock::unix_millis;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::decide::{
    Change, Hold, Patience, Refusal, Suspicions, View, Waiting, check_cancel, check_drain,
    first_map, order_move,
};
use crate::fleet::{Fleet, Life, NotTaken};
use crate::introduction::Introduction;
use crate::losses::Losses;
use crate::overview::Overview;
use crate::register::{Register, RegisterError};
use crate::request::{News, OrderError, Request, Settings, Written};
use crate::watcher::Sign;

mod lives;
#[cfg(test)]
mod tests;

/// Between two looks at what no sign announces: that workers ceased to join.
const TICK: Duration = Duration::from_millis(250);
/// Between two looks at the workers' loads.
const BALANCE: Duration = Duration::from_secs(10);
/// Signs that wait.
const QUEUE: usize = 256;
/// Workers that may not join and are remembered with the reason, so that each is told once:
/// more than may come at a time.
const REFUSED: usize = 1024;
/// Between two tries to write a register that cannot be written: signs come more often.
const REST: Duration = Duration::from_secs(1);
/// Writes that may be lost to others in a row before the next sign is awaited.
const ATTEMPTS: usize = 5;

pub(crate) struct Driver<R> {
    register: R,
    settings: Settings,
    fleet: Fleet,
    losses: Losses,
    drains: BTreeMap<WorkerId, Incarnation>,
    memory: Memory,
    suspicions: Suspicions,
    hold: Hold,
    started: Instant,
    /// When loads were looked at last.
    balanced: Instant,
    /// The highest version that anybody has.
    known: u64,
    joined: Instant,
    waits: Option<Wait>,
    /// Those that may not join and why, as far as that was told.
    refused: BTreeSet<(Owner, String)>,
    watchers: BTreeMap<Owner, (String, AbortOnDropHandle<()>)>,
    signs: mpsc::Sender<(Owner, Sign)>,
    heard: mpsc::Receiver<(Owner, Sign)>,
    shown: watch::Sender<Overview>,
    news: broadcast::Sender<News>,
    /// Why the register was not written the last time.
    unwritten: Option<String>,
    /// When it is tried again.
    rests: Instant,
}

/// What the first map has to wait for.
struct Wait {
    on: Waiting,
    since: Instant,
    told: bool,
}

impl Wait {
    fn tell(&mut self) {
        if !self.told && self.since.elapsed() >= TICK {
            tracing::info!("no shard map yet: waiting {}", self.on);
            self.told = true;
        }
    }
}

/// An operator that leads no more runs on.
impl<R> Drop for Driver<R> {
    fn drop(&mut self) {
        self.settings.metrics.hide();
    }
}

impl<R: Register> Driver<R> {
    pub(crate) fn new(
        register: R,
        settings: Settings,
        shown: watch::Sender<Overview>,
        news: broadcast::Sender<News>,
    ) -> Self {
        let (signs, heard) = mpsc::channel(QUEUE);
        Self {
            register,
            settings,
            fleet: Fleet::default(),
            losses: Losses::default(),
            drains: BTreeMap::new(),
            memory: Memory::default(),
            suspicions: Suspicions::default(),
            hold: Hold::default(),
            started: Instant::now(),
            balanced: Instant::now(),
            known: 0,
            joined: Instant::now(),
            waits: None,
            refused: BTreeSet::new(),
            watchers: BTreeMap::new(),
            signs,
            heard,
            shown,
            news,
            unwritten: None,
            rests: Instant::now(),
        }
    }

    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut heard = Vec::new();
            let next = self.next_look();
            tokio::select! {
                Some(request) = requests.recv() => self.serve(request).await,
                _ = self.heard.recv_many(&mut heard, QUEUE) => {}
                _ = tick.tick() => {}
                () = sleep_until(next) => {}
            }
            heard
                .into_iter()
                .for_each(|(owner, sign)| self.hear(&owner, sign));
            self.count_time();
            if Instant::now() < self.rests {
                continue;
            }
            let settled = self.settle().await;
            self.tell_settled(settled.err().map(lasting));
        }
    }

    /// Tells once of a cause that keeps the register from being written.
    fn tell_settled(&mut self, error: Option<String>) {
        if error.is_some() {
            self.rests = Instant::now() + REST;
        }
        match &error {
            Some(reason) if error != self.unwritten => {
                tracing::warn!(error = reason, "the register is not written, trying again");
            }
            None if self.unwritten.is_some() => tracing::info!("the register is written again"),
            _ => {}
        }
        self.unwritten = error;
    }

    /// When something is to be decided though nothing is heard.
    fn next_look(&self) -> Instant {
        let end = self.suspicions.next_end(self.started.elapsed());
        let next = end.map_or(Instant::now() + TICK, |end| self.started + end);
        // What is due is not decided before.
        next.max(self.rests)
    }

    fn count_time(&mut self) {
        if self.balanced.elapsed() >= BALANCE {
            self.balanced = Instant::now();
            self.memory = std::mem::take(&mut self.memory).tick();
        }
    }

    async fn serve(&mut self, request: Request) {
        // Who asked may have gone; what was asked for holds.
        match request {
            Request::Join(who, answer) => {
                let joined = self.join(&who);
                if let Err(error) = &joined {
                    self.tell_refused(&who.owner, error);
                }
                let _ = answer.send(joined);
            }
            Request::Leave(owner) => {
                tracing::info!(worker = %owner, "a worker left");
                self.watchers.remove(&owner);
                self.fleet.left(&owner);
            }
            Request::Known(version) => self.known = self.known.max(version),
            Request::Move(shard, to, answer) => {
                let _ = answer.send(self.move_shard(shard, &to).await);
            }
            Request::Drain(worker, answer) => {
                let _ = answer.send(self.drain(worker).await);
            }
            Request::Outgoing(workers) => self.fleet.set_outgoing(workers),
            Request::Present(workers) => self.fleet.set_present(workers),
            Request::CancelDrain(worker, answer) => {
                let _ = answer.send(self.cancel_drain(&worker).await);
            }
        }
    }

    async fn move_shard(&mut self, shard: u16, to: &WorkerId) -> Result<(), OrderError> {
        self.order(|view| order_move(view, shard, to).map(Vec::from_iter))
            .await?;
        let moved = self.settings.shards.shard(shard);
        moved.into_iter().for_each(|shard| self.memory.rest(shard));
        Ok(())
    }

    async fn drain(&mut self, worker: WorkerId) -> Result<(), OrderError> {
        self.order(|view| check_drain(view, &worker).map(|()| Vec::new()))
            .await?;
        tracing::info!(%worker, "its drain is ordered");
        let life = self.fleet.named(&worker);
        let life = life.map(|(owner, _)| (worker, owner.incarnation));
        self.drains.extend(life);
        Ok(())
    }

    async fn cancel_drain(&mut self, worker: &WorkerId) -> Result<(), OrderError> {
        self.order(|view| check_cancel(view, worker).map(|()| Vec::new()))
            .await?;
        tracing::info!(%worker, "its drain is cancelled");
        self.drains.remove(worker);
        Ok(())
    }

    fn join(&mut self, who: &Introduction) -> Result<(), NotTaken> {
        let (owner, address) = (&who.owner, &who.address);
        let is_new = !self.fleet.members().any(|(known, _)| known == owner);
        self.fleet.join(who)?;
        self.refused.retain(|(known, _)| known != owner);
        if is_new {
            tracing::info!(worker = %owner, address, "a worker joined");
            self.joined = Instant::now();
            // Of that name another process was drained, which is gone.
            self.drains
                .retain(|name, life| *name != owner.worker || *life == owner.incarnation);
        }
        Ok(())
    }

    /// Tells once why a worker may not join: it goes on asking.
    fn tell_refused(&mut self, owner: &Owner, error: &NotTaken) {
        if self.refused.len() >= REFUSED {
            self.refused.clear();
        }
        if self.refused.insert((owner.clone(), error.to_string())) {
            tracing::warn!(worker = %owner, %error, "a worker may not join");
            self.tell(News::Refused(owner.clone(), error.clone()));
        }
    }

    fn tell(&self, news: News) {
        // Without anybody who follows them, these are no news.
        let _ = self.news.send(news);
    }

    /// Writes what follows from an order. Fails with the conflict where others write first each
    /// time.
    async fn order(
        &mut self,
        order: impl Fn(&View<'_>) -> Result<Vec<Change>, Refusal>,
    ) -> Result<(), OrderError> {
        for _ in 1..ATTEMPTS {
            match self.obey(&order).await {
                Err(OrderError::Register(RegisterError::Conflict { .. })) => self.catch_up(),
                done => return done,
            }
        }
        self.obey(&order).await
    }

    async fn obey(
        &mut self,
        order: &impl Fn(&View<'_>) -> Result<Vec<Change>, Refusal>,
    ) -> Result<(), OrderError> {
        let map = self.register.read().await?.ok_or(Refusal::NoMap)?;
        let changes = order(&self.view(&map))?;
        self.write(&map, changes).await?;
        Ok(())
    }

    fn view<'a>(&'a self, map: &'a RegisterMap) -> View<'a> {
        View {
            map,
            fleet: &self.fleet,
            drains: &self.drains,
            memory: &self.memory,
            suspicions: &self.suspicions,
            hold: &self.hold,
            now: self.started.elapsed(),
        }
    }

    /// Writes what is to be written now. Fails with the conflict where others write first
    /// each time.
    async fn settle(&mut self) -> Result<(), RegisterError> {
        for _ in 1..ATTEMPTS {
            match self.step().await {
                Err(RegisterError::Conflict { .. }) => self.catch_up(),
                done => return done,
            }
        }
        self.step().await
    }

    async fn step(&mut self) -> Result<(), RegisterError> {
        let Some(map) = self.register.read().await? else {
            self.employ();
            return self.begin().await;
        };
        self.waits = None;
        self.recall(&map);
        self.bury();
        self.look();
        let decision = self.view(&map).decide();
        let map = self.write(&map, decision.changes).await?;
        self.memory = decision.memory;
        self.suspicions = decision.suspicions;
        let now = self.started.elapsed();
        let lost = self.losses.note(&self.fleet, &self.hold, now);
        self.settings.metrics.lost(lost);
        self.forget(&map);
        let overview = Overview::of(&self.view(&map), &self.losses);
        self.settings.metrics.show(&map, &overview);
        self.shown.send_replace(overview);
        self.employ();
        Ok(())
    }

    /// The first write to an empty register.
    async fn begin(&mut self) -> Result<(), RegisterError> {
        let patience = Patience {
            quiet: self.joined.elapsed(),
            expected: self.settings.expected,
            least: Epoch::new(unix_millis()).unwrap_or(Epoch::FIRST),
        };
        let first = match first_map(self.known, self.settings.shards, &self.fleet, patience) {
            Ok(first) => first,
            Err(waiting) => {
                self.wait(waiting);
                return Ok(());
            }
        };
        let map = first.with_addresses(self.addresses(&first));
        tracing::info!(
            version = map.version(),
            workers = map.addresses().len(),
            "the first shard map"
        );
        self.store(Arc::new(map)).await
    }

    async fn store(&self, map: Arc<RegisterMap>) -> Result<(), RegisterError> {
        let done = self.register.compare_and_swap(map).await;
        self.settings.metrics.wrote(&done);
        done
    }

    /// Tells what is waited for, once, where it takes a moment.
    fn wait(&mut self, waiting: Waiting) {
        match &mut self.waits {
            Some(wait) if wait.on == waiting => wait.tell(),
            _ => {
                self.shown.send_replace(Overview {
                    waiting: Some(waiting.to_string()),
                    ..Overview::default()
                });
                self.waits = Some(Wait {
                    on: waiting,
                    since: Instant::now(),
                    told: false,
                });
            }
        }
    }

    /// Writes the changes and whatever is new of addresses; gives the map that is
    /// in force.
    async fn write(
        &mut self,
        map: &Arc<RegisterMap>,
        changes: Vec<Change>,
    ) -> Result<Arc<RegisterMap>, RegisterError> {
        let changed = rewritten(map, &changes);
        let addresses = self.addresses(&changed);
        if changes.is_empty() && addresses == *map.addresses() {
            return Ok(Arc::clone(map));
        }
        let next = Arc::new(changed.with_addresses(addresses));
        self.store(Arc::clone(&next)).await?;
        for change in &changes {
            let Change { shard, entry, why } = change;
            self.settings.metrics.changed(map.entry(*shard), change);
            let to = entry.plan().map_or(entry.owner(), |plan| &plan.to);
            tracing::info!(%shard, epoch = %entry.epoch(), %to, "{why}");
            let written = Written {
                shard: *shard,
                from: map.entry(*shard).owner().worker.clone(),
                to: to.worker.clone(),
                why: *why,
            };
            self.tell(News::Written(written));
        }
        Ok(next)
    }

    /// Of everybody who may live, and of everybody whom the map names.
    fn addresses(&self, map: &RegisterMap) -> BTreeMap<Owner, String> {
        let named: BTreeSet<_> = map
            .entries()
            .flat_map(|(_, entry)| [Some(entry.owner()), entry.plan().map(|plan| &plan.to)])
            .flatten()
            .collect();
        let kept = |owner: &Owner, life| life != Life::Dead || named.contains(owner);
        let life = |owner: &Owner| self.hold.life(&self.fleet, owner);
        let members = self
            .fleet
            .members()
            .filter(|(owner, _)| kept(owner, life(owner)));
        members
            .map(|(owner, member)| (owner.clone(), member.address.clone()))
            .collect()
    }
}

/// `map` with these changes, under its own version.
fn rewritten(map: &RegisterMap, changes: &[Change]) -> RegisterMap {
    let mut entries: Vec<_> = map.entries().map(|(_, entry)| entry.clone()).collect();
    for change in changes {
        entries[change.shard.index()] = change.entry.clone();
    }
    let addresses = map.addresses().clone();
    RegisterMap::new(map.version(), map.count(), entries, addresses).expect("no shard came or went")
}

/// The cause in words that stay the same while it lasts: a conflict's have versions that grow.
fn lasting(error: RegisterError) -> String {
    match error {
        RegisterError::Conflict { .. } => "others write first each time".to_owned(),
        error => error.to_string(),
    }
}
