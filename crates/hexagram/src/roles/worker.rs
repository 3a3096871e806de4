//! `hexagram worker`: shards and upstreams of one process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use hexagram_control::{Introduction, Joining, Maps, Tellers};
use hexagram_core::{Incarnation, Owner, Sealer, Setup, ShardMap};
use hexagram_edge::Dial;
use hexagram_operator::Heir;
use hexagram_runtime::admin::Admin;
use hexagram_runtime::health::{Condition, Health};
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::shutdown::Shutdown;
use hexagram_store::RedisStore;
use hexagram_tls::{LinkTls, Role};
use hexagram_worker::{
    Changes, ChildLimit, Kept, Membership, Peer, Upstream, UpstreamArgs, Worker, WorkerContext,
    WorkerMetrics, carry_over,
};
use serde_json::json;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::WorkerRole;
use crate::cluster::{incarnation, owned, shown};
use crate::follow::{show_reached, way};
use crate::members::{Source, Way, tellers};
use crate::mistake::Mistake;
use crate::roles::reload::Reload;
use crate::store;

/// None is enough where a folder may have some later.
const NO_UPSTREAM: &str = "no upstream: give at least one with --upstream NAME=URL, or a folder \
                           for them with --upstream-dir DIR";

/// A worker does not know which it is: the operator finds workers by their pods, and tells people
/// why it refuses one, not the worker.
const NOT_NAMED: &str = "no operator has taken this worker in yet: none runs, none reaches it, or \
                         it is refused; `kubectl get pods -l app.kubernetes.io/component=operator`, \
                         their log and `kubectl describe shardmap` say which";

/// Under a controller nobody needs to know the port beforehand.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) async fn run(args: WorkerRole, shutdown: Shutdown, reload: Reload) -> Result<()> {
    no_command(&args.upstream)?;
    check_ask(&args)?;
    let (health, metrics) = (Health::new(), Metrics::new());
    let life = incarnation();
    let source = args.members.source(&args.serve.cluster).await?;
    if let Some(source) = &source {
        show_reached(&metrics, source.reached());
    }
    let store = open_store(&args)?;
    store::check(store.as_ref()).await?;
    let tls = args.link_tls.open(Role::Worker, &metrics)?;
    let around = source.as_ref().map(|source| (source, way(tls.clone())));
    let context = context(&args, &metrics, life, around, store.as_ref())?;
    let (membership, sealer) = (context.membership.clone(), Arc::clone(&context.sealer));
    let (worker, changes) = worker(&args, context)?;
    let listener = listen(&args).await?;
    // Port 0 is another by now.
    let link = listener.local_addr()?;
    let address = args.advertise.clone();
    let address = address.unwrap_or_else(|| link.to_string());
    let (at, page) = (args.serve.admin.addr, status(&args, &worker, &sealer));
    let admin = Admin::bind(at, health.clone(), metrics.clone(), page).await?;
    tell_start(&args, life, link, admin.local_addr(), &worker);
    let leave = CancellationToken::new();
    let joined = source.zip(membership).map(|(source, membership)| {
        let who = introduction(&args, life, address, membership.setup);
        let maps = membership.register;
        let others = tellers(&args.ask, &args.serve.cluster, membership.dial);
        join(source, who, others, &sealer, maps, &health, leave.clone())
    });
    let admin_end = CancellationToken::new();
    let admin = tokio::spawn(admin.run(admin_end.clone()));
    tokio::spawn(probe(worker.clone()));
    args.serve.cluster.follow_keys(&sealer);
    tokio::spawn(follow(reload, args, worker.clone(), changes));
    super::unready_at(&shutdown, health);
    serve(worker, listener, tls, &metrics, &shutdown).await?;
    leave.cancel();
    if let Some(joined) = joined {
        joined.await?;
    }
    admin_end.cancel();
    admin.await?;
    Ok(())
}

/// Says what people look for in a log.
fn tell_start(
    args: &WorkerRole,
    life: Incarnation,
    link: SocketAddr,
    admin: SocketAddr,
    worker: &Worker,
) {
    if worker.served().is_empty() {
        tracing::warn!("no upstream yet: clients see empty lists until the folder has one");
    }
    tracing::info!(worker = %args.name, incarnation = life.get(), %link, %admin, shards = worker.status().len(), "worker started");
}

/// Serves links until the shutdown.
async fn serve(
    worker: Worker,
    listener: TcpListener,
    tls: Option<LinkTls>,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<()> {
    let end = shutdown.token();
    match tls {
        Some(tls) => {
            let incoming = hexagram_tls::incoming(listener, tls, metrics);
            let incoming = incoming.map_ok(|(role, stream)| (peer(role), stream));
            worker.serve_known(Box::pin(incoming), end).await?;
        }
        None => {
            let incoming = hexagram_tls::plain_incoming(listener, metrics);
            worker.serve_incoming(Box::pin(incoming), end).await?;
        }
    }
    Ok(())
}

const fn peer(role: Role) -> Peer {
    match role {
        Role::Edge => Peer::Edge,
        Role::Worker => Peer::Worker,
        Role::Controller => Peer::Controller,
    }
}

/// What this life of the worker, reached at `address`, says of itself.
fn introduction(
    args: &WorkerRole,
    life: Incarnation,
    address: String,
    setup: Setup,
) -> Introduction {
    let owner = Owner {
        worker: args.name.clone(),
        incarnation: life,
    };
    Introduction {
        setup,
        ..Introduction::new(owner, address)
    }
}

/// Becomes a member of the controller's cluster, whose `maps` these are, and stays it
/// until `leave`.
fn join(
    source: Source,
    who: Introduction,
    others: Tellers,
    sealer: &Arc<Sealer>,
    maps: Maps,
    health: &Health,
    leave: CancellationToken,
) -> JoinHandle<()> {
    let condition = health.condition("controller");
    match source {
        Source::Control(source) => {
            tokio::spawn(ready_once_joined(condition, source.joining()));
            let sealer = Arc::clone(sealer);
            let who = move || {
                let mut now = who.clone();
                now.setup.keys = sealer.fingerprints();
                now
            };
            tokio::spawn(async move { source.member(who, leave).await })
        }
        // The operator finds the workers' pods by itself.
        Source::ShardMap(source) => tokio::spawn(async move {
            let heir = source.heir(who.owner, who.address, others);
            let ready = ready_once_named(&condition, maps, &heir);
            leave.run_until_cancelled(ready).await;
        }),
    }
}

async fn ready_once_named(condition: &Condition, mut maps: Maps, heir: &Heir) {
    condition.set(false, NOT_NAMED);
    heir.named(&mut maps).await;
    condition.set(true, "joined");
}

/// Nobody gives shards to a worker that has not joined. One that has serves on also
/// while its controller is away, so it stays ready.
async fn ready_once_joined(condition: Condition, mut joining: watch::Receiver<Joining>) {
    loop {
        let now = joining.borrow_and_update().clone();
        match now {
            Joining::Asking => condition.set(false, "not joined yet"),
            Joining::Vain(why) => condition.set(false, format!("not joined: {why}")),
            Joining::Joined => return condition.set(true, "joined"),
        }
        if joining.changed().await.is_err() {
            return;
        }
    }
}

/// What this worker is to have in common with the others.
fn setup(args: &WorkerRole, sealer: &Sealer) -> Result<Setup> {
    Ok(Setup {
        keys: sealer.fingerprints(),
        store: Some(args.store.place(&args.serve.cluster)?),
    })
}

/// Whether the worker could start, as far as its settings decide.
pub(super) fn check(args: &WorkerRole) -> Result<()> {
    args.members.way()?;
    no_command(&args.upstream)?;
    check_ask(args)?;
    args.link_tls.check(Role::Worker)?;
    let store = open_store(args)?;
    let context = context(args, &Metrics::new(), incarnation(), None, store.as_ref())?;
    worker(args, context).map(drop)
}

/// Elsewhere no worker takes over by itself what it owned.
fn check_ask(args: &WorkerRole) -> Result<(), Mistake> {
    let asks = |way: Way<'_>| matches!(way, Way::ShardMap(_));
    let alone = "--ask goes with --shard-map: only there a worker takes over what it owned";
    args.members.check_ask(&args.ask, asks, alone)
}

/// The store, if there is to be one. With a static map nobody takes over, so nobody
/// would read it.
fn open_store(args: &WorkerRole) -> Result<Option<Arc<RedisStore>>> {
    let store = args.store.open(&args.serve.cluster)?;
    if store.is_some() && !args.members.has_register()? {
        let alone = "--store goes with --control or --shard-map: with --peer no worker takes over \
                     another's shards";
        return Err(Mistake::Settings(alone.to_owned()).into());
    }
    Ok(store)
}

fn worker(args: &WorkerRole, context: WorkerContext) -> Result<(Worker, Changes)> {
    let changes = context.changes.clone();
    let upstreams = upstreams(args, &args.upstream, &changes, &[])?;
    Ok((Worker::new(upstreams, context)?, changes))
}

/// Serves the upstreams of the config file as it changes.
async fn follow(reload: Reload, args: WorkerRole, worker: Worker, changes: Changes) {
    let serve = |given: &UpstreamArgs| {
        let served = worker.served();
        let upstreams = upstreams(&args, given, &changes, &served)?;
        let upstreams = carry_over(&served, upstreams);
        let replaced = worker.serve_upstreams(upstreams)?;
        tokio::spawn(probe(worker.clone()));
        Ok(replaced)
    };
    reload.follow(serve).await;
}

/// Asks the upstreams that are not known yet what they are, so that a dead one
/// is told at once.
pub(crate) async fn probe(worker: Worker) {
    for (name, info) in worker.probe().await {
        match info {
            Ok(info) => {
                tracing::info!(upstream = name, server = %info.server_info["name"], "upstream reachable");
            }
            Err(error) => {
                tracing::warn!(upstream = name, %error, "upstream not reachable, its callers get errors until it is");
            }
        }
    }
}

fn upstreams(
    args: &WorkerRole,
    given: &UpstreamArgs,
    changes: &Changes,
    served: &[Arc<Upstream>],
) -> Result<Vec<Arc<Upstream>>> {
    no_command(given)?;
    let mut upstreams = built(given, &ChildLimit::new(0), served)?;
    let tasks = args.tasks_in_memory;
    // Shown until the folder has something.
    let demo = args
        .demo
        .filter(|_| upstreams.is_empty() || given.upstream_dir.is_none());
    let demo = demo.map(|kind| crate::demo::upstream(kind, changes, tasks));
    upstreams.extend(demo);
    match upstreams.is_empty() && given.upstream_dir.is_none() {
        true => Err(Mistake::Settings(NO_UPSTREAM.to_owned()).into()),
        false => Ok(upstreams),
    }
}

fn no_command(given: &UpstreamArgs) -> Result<(), Mistake> {
    let Some(spec) = given.first_command() else {
        return Ok(());
    };
    let name = &spec.name;
    Err(Mistake::Settings(format!(
        "upstream {name} is a command: commands run in `hexagram local` only, a worker takes URLs"
    )))
}

/// The upstreams that the settings name.
pub(crate) fn built(
    given: &UpstreamArgs,
    children: &ChildLimit,
    served: &[Arc<Upstream>],
) -> Result<Vec<Arc<Upstream>>> {
    if let Some(reason) = given.wrong_rule() {
        return Err(Mistake::Settings(reason).into());
    }
    Ok(given.build(children, served)?)
}

fn context(
    args: &WorkerRole,
    metrics: &Metrics,
    life: Incarnation,
    around: Option<(&Source, Dial)>,
    store: Option<&Arc<RedisStore>>,
) -> Result<WorkerContext> {
    let cluster = &args.serve.cluster;
    // Under a controller the register says what is owned; the map is no fixed one.
    let fixed = match args.members.has_register()? {
        true => None,
        false => {
            args.members.address(&args.name)?;
            Some(args.members.map(cluster.shards)?)
        }
    };
    let own = fixed.as_ref().map(|map| owned(map, &args.name));
    let sealer = cluster.sealer()?;
    Ok(WorkerContext {
        cluster: cluster.cluster.clone(),
        name: args.name.clone(),
        incarnation: life,
        shards: cluster.shards,
        owned: own.unwrap_or_default(),
        membership: match around {
            Some((source, dial)) => Some(membership(source, dial, setup(args, &sealer)?)),
            None => None,
        },
        kept: Kept::new(),
        map_fingerprint: fixed.as_ref().map(ShardMap::fingerprint),
        sealer,
        changes: Changes::new(),
        metrics: WorkerMetrics::register(metrics),
        session_idle: args.upstream.session_idle(),
        drain: args.serve.drain.clone(),
        store: store::any(store),
        session_lifetime: args.serve.cluster.session_lifetime(),
        link_version: args.serve.cluster.link_version,
    })
}

fn membership(source: &Source, dial: Dial, setup: Setup) -> Membership {
    Membership {
        register: source.follow(),
        reached: source.reached(),
        read: source.read(),
        dial,
        hands_over: true,
        setup,
    }
}

/// Where links come in.
async fn listen(args: &WorkerRole) -> Result<TcpListener> {
    let link = link_address(args).await?;
    let listener = hexagram_worker::bind(link).await;
    listener.with_context(|| format!("listen for links on {link} (change it with --link ADDR)"))
}

async fn link_address(args: &WorkerRole) -> Result<SocketAddr> {
    if let Some(link) = args.link {
        return Ok(link);
    }
    if args.members.has_register()? {
        return Ok(ANY_PORT);
    }
    let address = args.members.address(&args.name)?;
    let mut found = tokio::net::lookup_host(address)
        .await
        .with_context(|| format!("look up {address}"))?;
    found
        .next()
        .with_context(|| format!("{address} has no address"))
}

fn status(
    args: &WorkerRole,
    worker: &Worker,
    sealer: &Arc<Sealer>,
) -> hexagram_runtime::admin::Status {
    let (name, worker, sealer) = (args.name.to_string(), worker.clone(), Arc::clone(sealer));
    let cluster = args.serve.cluster.cluster.clone();
    let count = args.serve.cluster.shards.get();
    Arc::new(move || {
        let shards = worker.status().into_iter().map(|shard| {
            json!({"shard": shard.shard, "owner": name, "epoch": shard.epoch, "held": shard.held})
        });
        json!({
            "role": "worker",
            "name": name,
            "cluster": cluster,
            "version": env!("CARGO_PKG_VERSION"),
            "keys": shown(&sealer),
            // Of all the cluster's; listed are those served here.
            "shard_count": count,
            "shards": shards.collect::<Vec<_>>(),
            "store": worker.store().map(|health| health.to_string()),
            "upstreams": worker.upstreams(),
        })
    })
}
