//! A cluster of processes under load, to which something happens; all that was seen of
//! it becomes a history, and the simulation's checker decides over it.

use std::path::Path;
use std::time::Duration;

use hexagram_sim::history::{Event, History, Limits, Step, check, served};
use tokio::time::sleep;

use crate::cluster::process::Process;
use crate::cluster::redis::Redis;
use crate::cluster::server::link_keys;
use crate::cluster::{Controlled, wait};
use crate::counter::Counter;
use crate::load::Load;
use crate::report;
use crate::size::Size;
use crate::steps::{self, Clock, Log};
use crate::talk::Talk;

pub(crate) const SHARDS: usize = 64;
/// The machine may be busy: what is not to take long is reported, not decided over.
const LIMITS: Limits = Limits {
    freeze: Duration::from_secs(10),
    moving: Duration::from_secs(30),
    grace: Duration::from_secs(60),
    healing: wait::DEADLINE,
    slack: Duration::from_secs(1),
};

/// One of the cluster's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Worker(usize),
    Edge(usize),
    Control,
}

impl Who {
    fn name(self) -> String {
        match self {
            Self::Worker(n) => format!("worker-{n}"),
            Self::Edge(n) => format!("edge-{n}"),
            Self::Control => "control".to_owned(),
        }
    }
}

pub(crate) struct Scene {
    pub(crate) counter: Counter,
    pub(crate) redis: Option<Redis>,
    pub(crate) cluster: Controlled,
    pub(crate) talk: Talk,
    pub(crate) size: Size,
    clock: Clock,
    load: Option<Load>,
    /// What the test did.
    deeds: Vec<Event>,
    /// When it did what clients may notice.
    faults: Vec<Duration>,
}

impl Scene {
    /// Two edges, three workers, and an upstream that counts.
    pub(crate) async fn start() -> Self {
        Self::with(None, &[]).await
    }

    /// The same, with edges that speak the link version of the release before.
    pub(crate) async fn with_older_edges() -> Self {
        Self::with_all(None, &[], &[], &["--link-version=2"]).await
    }

    /// The same over mutual TLS, with certificates in this folder.
    pub(crate) async fn over_tls(folder: &Path) -> Self {
        link_keys(folder, &[]);
        let flag = |role| format!("--link-tls={}", folder.join(role).display());
        let [worker, control, edge] = ["worker", "controller", "edge"].map(flag);
        Self::with_all(None, &[&worker], &[&control], &[&edge]).await
    }

    /// The same with a store.
    pub(crate) async fn stored() -> Self {
        let redis = Redis::start().await;
        let scene = Self::with(Some(redis), &[]).await;
        scene.redis().whole(SHARDS).await;
        scene
    }

    /// `control`: the controller's arguments.
    pub(crate) async fn with(redis: Option<Redis>, control: &[&str]) -> Self {
        Self::with_all(redis, &[], control, &[]).await
    }

    async fn with_all(
        redis: Option<Redis>,
        workers: &[&str],
        control: &[&str],
        edges: &[&str],
    ) -> Self {
        let (talk, clock) = (Talk::new(), Clock::new());
        let counter = Counter::start().await;
        let mut args = vec![counter.argument()];
        args.extend(redis.as_ref().map(Redis::argument));
        let args = args.iter().map(String::as_str);
        let args: Vec<_> = args
            .chain(workers.iter().copied())
            .chain(steps::LOG)
            .collect();
        let control: Vec<_> = control.iter().copied().chain(steps::LOG).collect();
        let edges: Vec<_> = edges.iter().copied().chain(steps::LOG).collect();
        let cluster = Controlled::start_as(2, 3, &args, &control, &edges).await;
        Self {
            counter,
            redis,
            cluster,
            talk,
            size: Size::asked_for(),
            clock,
            load: None,
            deeds: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Clients begin to send, and each has opened a session. What follows may befall the
    /// first call of some.
    pub(crate) async fn load(&mut self) {
        self.load = Some(Load::start(&self.cluster, self.size, &self.talk));
        self.served_since(self.talk.now()).await;
    }

    pub(crate) fn redis(&self) -> &Redis {
        self.redis.as_ref().unwrap()
    }

    fn redis_mut(&mut self) -> &mut Redis {
        self.redis.as_mut().unwrap()
    }

    pub(crate) fn process(&mut self, who: Who) -> &mut Process {
        match who {
            Who::Worker(n) => &mut self.cluster.workers[n].process,
            Who::Edge(n) => &mut self.cluster.edges[n].process,
            Who::Control => &mut self.cluster.control.process,
        }
    }

    /// Something happens that clients may notice.
    pub(crate) fn fault(&mut self) -> Duration {
        let now = self.talk.now();
        self.faults.push(now);
        now
    }

    pub(crate) fn did(&mut self, who: Who, step: Step) {
        let event = Event {
            at: self.talk.now(),
            host: who.name(),
            life: self.process(who).life(),
            step,
        };
        self.deeds.push(event);
    }

    /// Ends a process as a crash would, and waits until all clients are served.
    pub(crate) async fn kill(&mut self, who: Who) {
        let event = self.fault();
        self.did(who, Step::Crashed { machine: false });
        self.process(who).kill().await;
        self.served_since(event).await;
    }

    /// Ends a process as a crash would and starts it again at once.
    pub(crate) async fn restart(&mut self, who: Who) {
        let event = self.fault();
        self.did(who, Step::Crashed { machine: false });
        self.process(who).kill().await;
        self.respawn(who);
        self.served_since(event).await;
    }

    /// The store is stopped, and comes back with nothing in it.
    pub(crate) async fn loses_its_store(&mut self) {
        let event = self.fault();
        self.store("stopped");
        self.redis_mut().process.kill().await;
        self.served_since(event).await;
        let slept = self.talk.now() - event;
        sleep(self.size.away.saturating_sub(slept)).await;
        let event = self.fault();
        self.redis_mut().process.respawn();
        self.redis().ready().await;
        self.redis().whole(SHARDS).await;
        self.redis().wipe();
        self.store("wiped");
        self.redis().whole(SHARDS).await;
        self.served_since(event).await;
    }

    /// Something happens to the store.
    fn store(&mut self, what: &str) {
        let event = Event {
            at: self.talk.now(),
            host: "store".to_owned(),
            life: self.redis().process.life(),
            step: Step::Store(what.to_owned()),
        };
        self.deeds.push(event);
    }

    /// Starts it again.
    pub(crate) fn respawn(&mut self, who: Who) {
        self.process(who).respawn();
        self.did(who, Step::Started);
    }

    /// Asks a process to end, and waits until it did.
    pub(crate) async fn end(&mut self, who: Who) {
        self.did(who, Step::Asked);
        let status = self.process(who).end().await;
        self.did(who, Step::Ended);
        assert_eq!(status.code(), Some(0), "{who:?}");
    }

    /// Waits until a worker has shards.
    pub(crate) async fn has_shards(&self, worker: usize) {
        let name = Who::Worker(worker).name();
        wait::until("shards of a new life", async || {
            (self.cluster.count(&name).await > 0).then_some(())
        })
        .await;
    }

    /// Waits until every client, if there are any, had an answer to something that it sent
    /// after `event`.
    pub(crate) async fn served_since(&self, event: Duration) {
        let clients = self.load.as_ref().map_or(0, |_| self.size.clients());
        wait::until("service for every client", async || {
            (self.talk.served_since(event, clients) == clients).then_some(())
        })
        .await;
    }

    /// Ends the load; checks what was seen, and prints what it came to.
    pub(crate) async fn finish(&mut self, scenario: &str) -> History {
        if let Some(load) = self.load.take() {
            load.end().await;
        }
        let history = self.history();
        let verdict = check(&history, &LIMITS);
        let faults = self
            .faults
            .iter()
            .map(|fault| full_service(&history, *fault));
        let faults: Vec<_> = faults.collect();
        report::print(scenario, &history, &verdict.counts, &faults);
        let broken = &verdict.violations;
        assert!(
            broken.is_empty(),
            "{}: {:#?}",
            broken.len(),
            &broken[..broken.len().min(10)]
        );
        history
    }

    fn history(&mut self) -> History {
        let mut events = steps::events(&self.logs(), self.clock);
        events.extend(self.deeds.iter().cloned());
        events.sort_by_key(|event| event.at);
        let runs = self.counter.runs();
        History {
            exchanges: self.talk.exchanges(),
            runs: runs
                .iter()
                .map(|(id, at)| self.talk.run(*id, *at))
                .collect(),
            events,
            durable: self.redis.is_some(),
            healed: self.faults.last().copied(),
            end: self.talk.now(),
        }
    }

    fn logs(&mut self) -> Vec<Log> {
        let workers = (0..self.cluster.workers.len()).map(Who::Worker);
        let edges = (0..self.cluster.edges.len()).map(Who::Edge);
        let all: Vec<_> = workers.chain(edges).chain([Who::Control]).collect();
        all.into_iter()
            .flat_map(|who| {
                let lives = self.process(who).lives();
                lives.into_iter().zip(1..).map(move |(text, life)| Log {
                    host: who.name(),
                    life,
                    text,
                })
            })
            .collect()
    }
}

/// From a fault until every client was served.
fn full_service(history: &History, fault: Duration) -> Duration {
    let clients = history.exchanges.iter().map(|one| one.client).max();
    let served = (0..=clients.unwrap_or_default())
        .map(|client| served(&history.exchanges, client, fault))
        .collect::<Option<Vec<_>>>();
    let last = served
        .expect("every client is served again")
        .into_iter()
        .max();
    last.unwrap_or_default().saturating_sub(fault)
}
