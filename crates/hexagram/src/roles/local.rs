//! `hexagram local`: a whole cluster in one process, over the same links.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hexagram_core::{Sealer, ShardMap, WorkerId, spread};
use hexagram_edge::{Directory, Edge, EdgeContext, LinkStatus, MapStatus, WorkerAddress};
use hexagram_runtime::admin::{Admin, Status};
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::shutdown::Shutdown;
use hexagram_worker::{
    Changes, ChildLimit, Kept, Replaced, Upstream, UpstreamArgs, Worker, WorkerContext,
    WorkerMetrics, carry_over,
};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::LocalArgs;
use crate::cluster::{incarnation, owned};
use crate::demo::DemoKind;
use crate::output::print;
use crate::roles::reload::Reload;
use crate::{demo, grid, roles};

/// Edges that connect to a worker of this process at the same time.
const PIPES: usize = 8;

pub(crate) async fn run(args: LocalArgs, shutdown: Shutdown, reload: Reload) -> Result<()> {
    let (health, metrics) = (Health::new(), Metrics::new());
    let sealer = args.serve.cluster.sealer_or_own()?;
    let map = map(&args)?;
    let workers_end = CancellationToken::new();
    let workers = Arc::new(Workers::start(
        &args,
        &map,
        &sealer,
        &metrics,
        &workers_end,
    )?);
    let context = EdgeContext {
        cluster: args.serve.cluster.cluster.clone(),
        name: "edge-0".to_owned(),
        incarnation: incarnation(),
        shards: args.serve.cluster.shards,
        sealer,
        session_lifetime: args.serve.cluster.session_lifetime(),
        directory: workers.directory(&map),
        health: health.clone(),
        metrics: metrics.clone(),
        drain: args.serve.drain.clone(),
        alone: true,
    };
    let edge = Edge::bind(args.edge.clone(), context).await?;
    let status = status(&args, &workers, edge.map_status(), edge.link_status());
    let admin = Admin::bind(args.serve.admin.addr, health.clone(), metrics, status).await?;
    welcome(&args, &map, &edge, &admin)?;
    let admin_end = CancellationToken::new();
    let admin = tokio::spawn(admin.run(admin_end.clone()));
    tokio::spawn(roles::worker::probe(workers.all[0].clone()));
    tokio::spawn(follow(reload, args.demo, Arc::clone(&workers)));
    let drain = shutdown.token();
    super::unready_at(&shutdown, health);
    edge.run(drain).await;
    workers_end.cancel();
    workers.ended().await;
    admin_end.cancel();
    admin.await?;
    Ok(())
}

/// Whether the cluster could start, as far as its settings decide.
pub(super) fn check(args: &LocalArgs) -> Result<()> {
    let sealer = args.serve.cluster.sealer_or_own()?;
    let children = ChildLimit::new(args.upstream.max_children.into());
    let (map, changes) = (map(args)?, Changes::new());
    workers(args, &map, &sealer, &Metrics::new(), &children, &changes)?;
    Ok(Edge::check(&args.edge)?)
}

fn map(args: &LocalArgs) -> Result<ShardMap> {
    let names = (0..args.workers).map(|n| format!("worker-{n}").parse());
    let names: Vec<WorkerId> = names.collect::<Result<_, _>>()?;
    Ok(spread(1, args.serve.cluster.shards, &names)?)
}

/// Closed input, SIGTERM and SIGKILL get two seconds each.
const CHILDREN_GRACE: Duration = Duration::from_secs(7);

/// The workers of this process.
struct Workers {
    all: Vec<Worker>,
    addresses: HashMap<WorkerId, WorkerAddress>,
    tasks: TaskTracker,
    children: ChildLimit,
    changes: Changes,
    // Keeps the directory readable; a local map never changes.
    source: std::sync::OnceLock<watch::Sender<Arc<Directory>>>,
}

impl Workers {
    fn start(
        args: &LocalArgs,
        map: &ShardMap,
        sealer: &Arc<Sealer>,
        metrics: &Metrics,
        end: &CancellationToken,
    ) -> Result<Self> {
        let children = ChildLimit::new(args.upstream.max_children.into());
        let changes = Changes::new();
        let mut this = Self {
            children: children.clone(),
            changes: changes.clone(),
            all: Vec::new(),
            addresses: HashMap::new(),
            tasks: TaskTracker::new(),
            source: std::sync::OnceLock::new(),
        };
        for (name, worker) in workers(args, map, sealer, metrics, &children, &changes)? {
            this.add(name, worker, end);
        }
        Ok(this)
    }

    fn add(&mut self, name: WorkerId, worker: Worker, end: &CancellationToken) {
        let (pipe, pipes) = mpsc::channel(PIPES);
        self.addresses.insert(name, WorkerAddress::Pipe(pipe));
        self.all.push(worker.clone());
        let end = end.clone();
        self.tasks.spawn(async move {
            if let Err(error) = worker.serve_pipes(pipes, end).await {
                tracing::error!(%error, "a worker ended");
            }
        });
    }

    fn directory(&self, map: &ShardMap) -> watch::Receiver<Arc<Directory>> {
        let directory = Directory {
            map: map.clone(),
            workers: self.addresses.clone(),
        };
        let source = watch::Sender::new(Arc::new(directory));
        let receiver = source.subscribe();
        // Set once, at start.
        let _ = self.source.set(source);
        receiver
    }

    /// Has all workers serve these upstreams from now on.
    fn serve(&self, upstreams: Vec<Arc<Upstream>>) -> Result<Replaced> {
        let upstreams = carry_over(&self.all[0].served(), upstreams);
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

/// The workers of a map, by name, not yet serving.
fn workers(
    args: &LocalArgs,
    map: &ShardMap,
    sealer: &Arc<Sealer>,
    metrics: &Metrics,
    children: &ChildLimit,
    changes: &Changes,
) -> Result<Vec<(WorkerId, Worker)>> {
    let metrics = WorkerMetrics::register(metrics);
    // Shared: one worker's knowledge of an upstream serves all.
    let upstreams = upstreams(args.demo, &args.upstream, children, changes)?;
    let worker = |name: WorkerId| {
        let context = WorkerContext {
            cluster: args.serve.cluster.cluster.clone(),
            name: name.clone(),
            incarnation: incarnation(),
            shards: args.serve.cluster.shards,
            owned: owned(map, &name),
            map_fingerprint: Some(map.fingerprint()),
            membership: None,
            kept: Kept::new(),
            sealer: Arc::clone(sealer),
            changes: changes.clone(),
            metrics: metrics.clone(),
            session_idle: args.upstream.session_idle(),
            drain: args.serve.drain.clone(),
        };
        Ok((name, Worker::new(upstreams.clone(), context)?))
    };
    map.shards_per_worker().into_keys().map(worker).collect()
}

fn upstreams(
    demo: DemoKind,
    given: &UpstreamArgs,
    children: &ChildLimit,
    changes: &Changes,
) -> Result<Vec<Arc<Upstream>>> {
    let given = given.build(children)?;
    Ok(match given.is_empty() {
        // One process is the whole cluster: its memory is as durable as that.
        true => vec![demo::upstream(demo, changes, true)],
        false => given,
    })
}

/// Serves the upstreams of the config file as it changes.
async fn follow(reload: Reload, demo: DemoKind, workers: Arc<Workers>) {
    let serve = |given: &UpstreamArgs| {
        let upstreams = upstreams(demo, given, &workers.children, &workers.changes)?;
        let replaced = workers.serve(upstreams)?;
        tokio::spawn(roles::worker::probe(workers.all[0].clone()));
        Ok(replaced)
    };
    reload.follow(serve).await;
}

fn status(
    args: &LocalArgs,
    workers: &Workers,
    map: impl Fn() -> MapStatus + Send + Sync + 'static,
    links: impl Fn() -> Vec<LinkStatus> + Send + Sync + 'static,
) -> Status {
    let all = workers.all.clone();
    let cluster = args.serve.cluster.cluster.clone();
    Arc::new(move || {
        let map = map();
        let mut shards: Vec<_> = map.shards.iter().map(|shard| json!(shard)).collect();
        for shard in all.iter().flat_map(Worker::status) {
            if let Some(entry) = shards.get_mut(usize::from(shard.shard)) {
                entry["held"] = json!(shard.held);
            }
        }
        json!({
            "role": "local",
            "name": "local",
            "cluster": cluster,
            "version": env!("CARGO_PKG_VERSION"),
            "map_version": map.map_version,
            "shards": shards,
            "links": links(),
            // They share their counters.
            "upstreams": all[0].upstreams(),
        })
    })
}

/// A newcomer's first look, not a log line.
fn welcome(args: &LocalArgs, map: &ShardMap, edge: &Edge, admin: &Admin) -> Result<()> {
    let endpoint = format!("http://{}/mcp", edge.local_addr()?);
    let owners: Vec<_> = map
        .count()
        .iter()
        .map(|shard| map.assignment(shard).owner.to_string())
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
        grid::draw(&owners, std::io::stdout().is_terminal()),
    );
    if let Err(error) = print(text) {
        tracing::warn!("{error:#}");
    }
    Ok(())
}
