//! The processes of the cluster: the product's own code, wired as its binary wires it.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use hexagram_control::{Api, ControlMetrics, Controller, HttpSource, Introduction, Settings};
use hexagram_core::{Incarnation, KeyRing, Owner, Sealer, Setup, ShardCount};
use hexagram_edge::{Directory, Edge, EdgeArgs, EdgeContext};
use hexagram_proto::LINK_VERSION_MAX;
use hexagram_runtime::drain::DrainArgs;
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use hexagram_store::Store;
use hexagram_worker::{Changes, Kept, Membership, ReadMap, Worker, WorkerContext, WorkerMetrics};
use tokio_util::sync::CancellationToken;

use super::CLUSTER;
use super::net::{Door, ask, dial};
use super::operator;
use super::register;
use super::scenario::{CLIENT_PORT, CONTROL, CONTROL_PORT};
use super::stage::Here;
use super::store::{Remote, Vault};
use super::upstream;
use crate::history::Step;

const LINK_PORT: u16 = 7100;
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long a process may take to end.
pub(super) const GRACE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(300);

type Done = Result<(), Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    edge: EdgeArgs,
    #[command(flatten)]
    drain: DrainArgs,
}

/// Settings as of a command line that changes little.
fn flags() -> Flags {
    let grace = format!("--drain-grace={}", GRACE.as_secs());
    Flags::parse_from(["sim", "--allowed-hosts=*", "--drain-delay=1", &grace])
}

fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(&KeyRing::generate(1, [7; 32]), CLUSTER))
}

fn incarnation(here: &Here) -> Incarnation {
    Incarnation::new(here.life).expect("lives count from 1")
}

fn source(here: &Here, shards: ShardCount) -> HttpSource {
    HttpSource::by(ask(here, CONTROL, CONTROL_PORT), CONTROL, CLUSTER, shards)
}

/// It ended by itself. The machine sees to its sockets.
async fn ended(here: &Here) -> Done {
    here.did(Step::Ended);
    std::future::pending().await
}

/// `hexagram control`, and who orders something of it.
pub(super) async fn control(here: Here, shards: ShardCount, workers: usize) -> Done {
    let register = register::Remote::new(&here, shards);
    let settings = Settings {
        cluster: CLUSTER.to_owned(),
        shards,
        expected: Some(workers),
        dial: dial(&here),
        metrics: ControlMetrics::register(&Metrics::new()),
    };
    let end = CancellationToken::new();
    let controller = Controller::start(register.clone(), settings, end.clone());
    let door = Door::open(&here, CONTROL_PORT).await?;
    tokio::spawn(operator::run(here.clone()));
    let api = Api::new(controller, register, CLUSTER, shards);
    api.run(door, here.shutdown.clone()).await;
    end.cancel();
    ended(&here).await
}

/// `hexagram edge`.
pub(super) async fn edge(here: Here, shards: ShardCount) -> Done {
    let source = source(&here, shards);
    let directory = Directory::follow(source.follow(), dial(&here)).await;
    let flags = flags();
    let context = EdgeContext {
        cluster: CLUSTER.to_owned(),
        name: here.name.clone(),
        incarnation: incarnation(&here),
        shards,
        sealer: sealer(),
        session_lifetime: LIFETIME,
        link_version: LINK_VERSION_MAX,
        directory: directory.ok_or("no shard map")?,
        health: Health::new(),
        metrics: Metrics::new(),
        drain: flags.drain,
        alone: false,
    };
    let door = Door::open(&here, CLIENT_PORT).await?;
    let edge = Edge::on(door, flags.edge, context)?;
    edge.run(here.shutdown.clone()).await;
    ended(&here).await
}

/// Reads the map of now.
fn read(source: &HttpSource) -> ReadMap {
    let source = source.clone();
    Arc::new(move || {
        let source = source.clone();
        Box::pin(async move { source.read().await })
    })
}

/// `hexagram worker`.
pub(super) async fn worker(here: Here, shards: ShardCount, vault: Option<Vault>) -> Done {
    let store = vault.map(|vault| Arc::new(Remote::new(&here, vault)) as Arc<dyn Store>);
    let source = source(&here, shards);
    let changes = Changes::new();
    let context = WorkerContext {
        cluster: CLUSTER.to_owned(),
        name: here.name.parse()?,
        incarnation: incarnation(&here),
        shards,
        owned: Vec::new(),
        membership: Some(Membership {
            register: source.follow(),
            dial: dial(&here),
            hands_over: true,
            setup: Setup::default(),
            reached: source.reached(),
            read: read(&source),
        }),
        kept: Kept::new(),
        map_fingerprint: None,
        sealer: sealer(),
        changes,
        metrics: WorkerMetrics::register(&Metrics::new()),
        session_idle: IDLE,
        drain: flags().drain,
        store,
        session_lifetime: LIFETIME,
        link_version: LINK_VERSION_MAX,
    };
    let owner = Owner {
        worker: context.name.clone(),
        incarnation: context.incarnation,
    };
    let worker = Worker::new(vec![Arc::new(upstream::counter(&here)?)], context)?;
    let door = Door::open(&here, LINK_PORT).await?;
    let leave = CancellationToken::new();
    let (address, left) = (format!("{}:{LINK_PORT}", here.name), leave.clone());
    let who = Introduction::new(owner, address);
    let member = tokio::spawn(async move { source.member(move || who.clone(), left).await });
    let shutdown = here.shutdown.clone();
    worker
        .serve_incoming(Box::pin(door.incoming()), shutdown)
        .await?;
    leave.cancel();
    member.await?;
    ended(&here).await
}
