//! `hexagram local`: a whole cluster in one process, over the same links.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hexagram_control::{
    Api, ControlMetrics, Controller, Introduction, Maps, MemoryRegister, Register, Settings,
};
use hexagram_core::{Entry, Owner, Sealer, Setup, ShardMap, WorkerId};
use hexagram_edge::{Dial, Directory, Edge, EdgeContext, LinkStatus, MapStatus, WorkerAddress};
use hexagram_runtime::admin::{Admin, Status};
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::shutdown::Shutdown;
use hexagram_store::RedisStore;
use hexagram_worker::{
    Changes, ChildLimit, Kept, Membership, ReadMap, Replaced, Upstream, UpstreamArgs, Worker,
    WorkerContext, WorkerMetrics, carry_over,
};
use serde_json::json;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::LocalArgs;
use crate::cluster::{incarnation, shown};
use crate::demo::DemoKind;
use crate::mistake::Mistake;
use crate::output::print;
use crate::roles::reload::Reload;
use crate::{demo, grid, roles, store};

/// Edges that connect to a worker of this process at the same time.
const PIPES: usize = 8;

pub(crate) async fn run(args: LocalArgs, shutdown: Shutdown, reload: Reload) -> Result<()> {
    let (health, metrics) = (Health::new(), Metrics::new());
    let sealer = args.serve.cluster.sealer_or_own()?;
    args.serve.cluster.follow_keys(&sealer);
    let register = MemoryRegister::default();
    let store = open_store(&args)?;
    store::check(store.as_ref()).await?;
    let workers_end = CancellationToken::new();
    let workers = Arc::new(Workers::start(
        &args,
        &register,
        &sealer,
        &metrics,
        store.as_ref(),
        &workers_end,
    )?);
    let control_end = CancellationToken::new();
    let controller = workers
        .control(&args, &register, &metrics, &control_end)
        .await?;
    let directory = Directory::follow(register.watch(), workers.dial.clone()).await;
    let directory = directory.context("the shard map has no source")?;
    let map = directory.borrow().map.clone();
    let context = edge_context(&args, Arc::clone(&sealer), directory, &health, &metrics);
    let edge = Edge::bind(args.edge.clone(), context).await?;
    let status = status(
        &args,
        &workers,
        &controller,
        register.watch(),
        sealer,
        edge.map_status(),
        edge.link_status(),
    );
    let cluster = &args.serve.cluster;
    let orders = Api::new(controller, register, &cluster.cluster, cluster.shards).orders();
    let admin = Admin::bind(args.serve.admin.addr, health.clone(), metrics, status)
        .await?
        .with_orders(orders);
    welcome(&args, &map, &edge, &admin)?;
    let admin_end = CancellationToken::new();
    let admin = tokio::spawn(admin.run(admin_end.clone()));
    tokio::spawn(roles::worker::probe(workers.all[0].clone()));
    tokio::spawn(follow(reload, args.demo, Arc::clone(&workers)));
    let drain = shutdown.token();
    super::unready_at(&shutdown, health);
    edge.run(drain).await;
    // Nobody is to take over what ends here.
    control_end.cancel();
    workers_end.cancel();
    workers.ended().await;
    admin_end.cancel();
    admin.await?;
    Ok(())
}

/// The only edge of the cluster.
fn edge_context(
    args: &LocalArgs,
    sealer: Arc<Sealer>,
    directory: watch::Receiver<Arc<Directory>>,
    health: &Health,
    metrics: &Metrics,
) -> EdgeContext {
    EdgeContext {
        cluster: args.serve.cluster.cluster.clone(),
        name: "edge-0".to_owned(),
        incarnation: incarnation(),
        shards: args.serve.cluster.shards,
        sealer,
        session_lifetime: args.serve.cluster.session_lifetime(),
        link_version: args.serve.cluster.link_version,
        directory,
        health: health.clone(),
        metrics: metrics.clone(),
        drain: args.serve.drain.clone(),
        alone: true,
    }
}

/// Whether the cluster could start, as far as its settings decide.
pub(super) fn check(args: &LocalArgs) -> Result<()> {
    let sealer = args.serve.cluster.sealer_or_own()?;
    let children = ChildLimit::new(args.upstream.max_children.into());
    let (pipes, _) = pipes(args)?;
    let register = MemoryRegister::default();
    let store = open_store(args)?;
    let parts = Parts {
        register: &register,
        dial: dial(pipes.clone()),
        sealer: &sealer,
        metrics: &Metrics::new(),
        children: &children,
        changes: &Changes::new(),
        store: store.as_ref(),
    };
    workers(args, pipes.keys(), &parts)?;
    Ok(Edge::check(&args.edge)?)
}

/// The store, if there is to be one. Session ids that another start cannot open would
/// make it useless.
fn open_store(args: &LocalArgs) -> Result<Option<Arc<RedisStore>>> {
    let store = args.store.open(&args.serve.cluster)?;
    if store.is_some() && args.serve.cluster.keys.is_none() {
        let ringless = "--store goes with --keys FILE: without the same key ring no session \
                        outlives this process; make one with `hexagram keys ring > ring.txt`";
        return Err(Mistake::Settings(ringless.to_owned()).into());
    }
    Ok(store)
}

type Pipes = BTreeMap<WorkerId, mpsc::Sender<DuplexStream>>;
type Ends = BTreeMap<WorkerId, mpsc::Receiver<DuplexStream>>;

/// A way to each worker, and its other end.
fn pipes(args: &LocalArgs) -> Result<(Pipes, Ends)> {
    let (mut pipes, mut ends) = (Pipes::new(), Ends::new());
    for number in 0..args.workers {
        let name: WorkerId = format!("worker-{number}").parse()?;
        let (pipe, end) = mpsc::channel(PIPES);
        pipes.insert(name.clone(), pipe);
        ends.insert(name, end);
    }
    Ok((pipes, ends))
}

/// Addresses of workers in this process are their names behind this.
const PIPE: &str = "pipe:";

fn dial(pipes: Pipes) -> Dial {
    Arc::new(move |address| {
        let name = address
            .strip_prefix(PIPE)
            .and_then(|name| name.parse().ok());
        match name.and_then(|name: WorkerId| pipes.get(&name)) {
            Some(pipe) => WorkerAddress::Pipe(pipe.clone()),
            None => WorkerAddress::Tcp(address.to_owned()),
        }
    })
}

/// What the workers of this process share.
struct Parts<'a> {
    register: &'a MemoryRegister,
    dial: Dial,
    sealer: &'a Arc<Sealer>,
    metrics: &'a Metrics,
    children: &'a ChildLimit,
    changes: &'a Changes,
    store: Option<&'a Arc<RedisStore>>,
}

/// Closed input, SIGTERM and SIGKILL get two seconds each.
const CHILDREN_GRACE: Duration = Duration::from_secs(7);

/// The workers of this process.
struct Workers {
    all: Vec<Worker>,
    owners: Vec<Owner>,
    dial: Dial,
    tasks: TaskTracker,
    children: ChildLimit,
    changes: Changes,
}

impl Workers {
    fn start(
        args: &LocalArgs,
        register: &MemoryRegister,
        sealer: &Arc<Sealer>,
        metrics: &Metrics,
        store: Option<&Arc<RedisStore>>,
        end: &CancellationToken,
    ) -> Result<Self> {
        let children = ChildLimit::new(args.upstream.max_children.into());
        let (changes, (pipes, mut ends)) = (Changes::new(), pipes(args)?);
        let names: Vec<_> = pipes.keys().cloned().collect();
        let mut this = Self {
            children: children.clone(),
            changes: changes.clone(),
            all: Vec::new(),
            owners: Vec::new(),
            dial: dial(pipes),
            tasks: TaskTracker::new(),
        };
        let parts = Parts {
            register,
            dial: this.dial.clone(),
            sealer,
            metrics,
            children: &children,
            changes: &changes,
            store,
        };
        for (owner, worker) in workers(args, names.iter(), &parts)? {
            if let Some(pipes) = ends.remove(&owner.worker) {
                this.add(owner, worker, pipes, end.clone());
            }
        }
        Ok(this)
    }

    fn add(
        &mut self,
        owner: Owner,
        worker: Worker,
        pipes: mpsc::Receiver<DuplexStream>,
        end: CancellationToken,
    ) {
        self.owners.push(owner);
        self.all.push(worker.clone());
        self.tasks.spawn(async move {
            if let Err(error) = worker.serve_pipes(pipes, end).await {
                tracing::error!(%error, "a worker ended");
            }
        });
    }

    /// The controller of these workers.
    async fn control(
        &self,
        args: &LocalArgs,
        register: &MemoryRegister,
        metrics: &Metrics,
        end: &CancellationToken,
    ) -> Result<Controller> {
        let settings = Settings {
            cluster: args.serve.cluster.cluster.clone(),
            shards: args.serve.cluster.shards,
            expected: Some(self.all.len()),
            dial: self.dial.clone(),
            metrics: ControlMetrics::register(metrics),
        };
        let controller = Controller::start(register.clone(), settings, end.clone());
        for owner in &self.owners {
            let address = format!("{PIPE}{}", owner.worker);
            // One process has one ring and one store: there is nothing to compare.
            let who = Introduction::new(owner.clone(), address);
            controller.join(who).await?;
        }
        Ok(controller)
    }

    /// Has all workers serve these upstreams from now on, in the place of those `served`.
    fn serve(&self, served: &[Arc<Upstream>], upstreams: Vec<Arc<Upstream>>) -> Result<Replaced> {
        let upstreams = carry_over(served, upstreams);
        let mut replaced = Replaced::default();
        for worker in &self.all {
            replaced = worker.serve_upstreams(upstreams.clone())?;
        }
        Ok(replaced)
    }

    async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        if !self.children.ended(CHILDREN_GRACE).await {
            tracing::warn!("some stdio upstreams have not ended, killing them");
        }
    }
}

/// Reads the map of now.
fn read(register: &MemoryRegister) -> ReadMap {
    let register = register.clone();
    Arc::new(move || {
        let register = register.clone();
        Box::pin(async move { register.read().await.ok().flatten() })
    })
}

/// The workers of these names, not yet serving.
fn workers<'a>(
    args: &LocalArgs,
    names: impl Iterator<Item = &'a WorkerId>,
    parts: &Parts<'_>,
) -> Result<Vec<(Owner, Worker)>> {
    let metrics = WorkerMetrics::register(parts.metrics);
    // Shared: one worker's knowledge of an upstream serves all.
    let upstreams = upstreams(
        args.demo,
        &args.upstream,
        parts.children,
        parts.changes,
        &[],
    )?;
    let kept = Kept::new();
    let worker = |name: &WorkerId| {
        let owner = Owner {
            worker: name.clone(),
            incarnation: incarnation(),
        };
        let context = WorkerContext {
            cluster: args.serve.cluster.cluster.clone(),
            name: name.clone(),
            incarnation: owner.incarnation,
            shards: args.serve.cluster.shards,
            owned: Vec::new(),
            membership: Some(Membership {
                register: parts.register.watch(),
                read: read(parts.register),
                reached: watch::channel(true).1,
                dial: parts.dial.clone(),
                hands_over: false,
                setup: Setup::default(),
            }),
            kept: kept.clone(),
            map_fingerprint: None,
            sealer: Arc::clone(parts.sealer),
            changes: parts.changes.clone(),
            metrics: metrics.clone(),
            session_idle: args.upstream.session_idle(),
            drain: args.serve.drain.clone(),
            store: store::any(parts.store),
            session_lifetime: args.serve.cluster.session_lifetime(),
            link_version: args.serve.cluster.link_version,
        };
        Ok((owner, Worker::new(upstreams.clone(), context)?))
    };
    names.map(worker).collect()
}

fn upstreams(
    demo: DemoKind,
    given: &UpstreamArgs,
    children: &ChildLimit,
    changes: &Changes,
    served: &[Arc<Upstream>],
) -> Result<Vec<Arc<Upstream>>> {
    let given = roles::worker::built(given, children, served)?;
    Ok(match given.is_empty() {
        // One process is the whole cluster: its memory is as durable as that.
        true => vec![demo::upstream(demo, changes, true)],
        false => given,
    })
}

/// Serves the upstreams of the config file as it changes.
async fn follow(reload: Reload, demo: DemoKind, workers: Arc<Workers>) {
    let serve = |given: &UpstreamArgs| {
        let served = workers.all[0].served();
        let (children, changes) = (&workers.children, &workers.changes);
        let upstreams = upstreams(demo, given, children, changes, &served)?;
        let replaced = workers.serve(&served, upstreams)?;
        tokio::spawn(roles::worker::probe(workers.all[0].clone()));
        Ok(replaced)
    };
    reload.follow(serve).await;
}

fn status(
    args: &LocalArgs,
    workers: &Workers,
    controller: &Controller,
    maps: Maps,
    sealer: Arc<Sealer>,
    map: impl Fn() -> MapStatus + Send + Sync + 'static,
    links: impl Fn() -> Vec<LinkStatus> + Send + Sync + 'static,
) -> Status {
    let (all, controller) = (workers.all.clone(), controller.clone());
    let cluster = args.serve.cluster.cluster.clone();
    Arc::new(move || {
        let map = map();
        let mut shards: Vec<_> = map.shards.iter().map(|shard| json!(shard)).collect();
        for (entry, to) in shards.iter_mut().zip(planned(&maps)) {
            entry["moving_to"] = json!(to);
        }
        for shard in all.iter().flat_map(Worker::status) {
            if let Some(entry) = shards.get_mut(usize::from(shard.shard)) {
                entry["held"] = json!(shard.held);
                entry["load"] = json!(shard.load);
            }
        }
        let overview = controller.overview();
        json!({
            "role": "local",
            "name": "local",
            "cluster": cluster,
            "version": env!("CARGO_PKG_VERSION"),
            "keys": shown(&sealer),
            "map_version": map.map_version,
            "shards": shards,
            "workers": overview.workers,
            "lost": overview.lost,
            "imbalance": overview.imbalance,
            "links": links(),
            // They share their counters.
            "upstreams": all[0].upstreams(),
        })
    })
}

/// Where each shard is planned to go.
fn planned(maps: &Maps) -> Vec<Option<String>> {
    let map = maps.borrow().clone();
    let entries = map.iter().flat_map(|map| map.entries());
    let to = |entry: &Entry<Owner>| Some(entry.plan()?.to.worker.to_string());
    entries.map(|(_, entry)| to(entry)).collect()
}

/// A newcomer's first look, not a log line.
fn welcome(args: &LocalArgs, map: &ShardMap, edge: &Edge, admin: &Admin) -> Result<()> {
    let endpoint = format!("http://{}/mcp", edge.local_addr()?);
    let owners: Vec<_> = map
        .count()
        .iter()
        .map(|shard| Some(map.assignment(shard).owner.to_string()))
        .collect();
    let serving = match &args.upstream.upstreams[..] {
        [] => "a built-in demo server (put your own behind it with --upstream NAME=URL)".to_owned(),
        given => given
            .iter()
            .map(|spec| spec.name.to_string())
            .collect::<Vec<_>>()
            .join(", "),
    };
    let text = format!(
        "\nHexagram serves MCP at\n\n    {endpoint}\n\n\
         behind it: {serving}\n\n\
         Point a client at it:\n\
         \x20   npx @modelcontextprotocol/inspector --cli {endpoint} --transport http --method tools/list\n\
         \x20   {{\"mcpServers\": {{\"hexagram\": {{\"type\": \"http\", \"url\": \"{endpoint}\"}}}}}}\n\n\
         {} shards on {} workers (hexagram status --admin {}):\n\n{}\n\
         Ctrl-C drains and stops; twice stops at once.\n",
        map.count(),
        map.shards_per_worker().len(),
        admin.local_addr(),
        grid::draw(&owners, &[], "nobody's", std::io::stdout().is_terminal()),
    );
    if let Err(error) = print(text) {
        tracing::warn!("{error:#}");
    }
    Ok(())
}
