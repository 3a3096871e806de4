//! `hexagram edge`: the clients' side of a cluster.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use hexagram_control::GoesBy;
use hexagram_core::Sealer;
use hexagram_edge::{Dial, Directory, Edge, EdgeContext, LinkStatus, MapStatus};
use hexagram_runtime::admin::{Admin, Status};
use hexagram_runtime::health::{Condition, Health};
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::shutdown::Shutdown;
use hexagram_tls::Role;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::EdgeRole;
use crate::cluster::{incarnation, shown};
use crate::follow;
use crate::members::{Way, tellers};

pub(crate) async fn run(args: EdgeRole, shutdown: Shutdown) -> Result<()> {
    let (health, metrics) = (Health::new(), Metrics::new());
    let dial = follow::way(args.link_tls.open(Role::Edge, &metrics)?);
    let fixed = fixed(&args, &dial)?;
    let map = health.condition("map");
    let sealer = args.serve.cluster.sealer()?;
    args.serve.cluster.follow_keys(&sealer);
    let page = StatusPage::new(&sealer);
    let at = args.serve.admin.addr;
    let admin = Admin::bind(at, health.clone(), metrics.clone(), page.of(&args)).await?;
    let address = admin.local_addr();
    let admin_end = CancellationToken::new();
    let admin = tokio::spawn(admin.run(admin_end.clone()));
    map.set(false, "waiting for the shard map");
    super::unready_at(&shutdown, health.clone());
    let found = tokio::select! {
        found = directory(&args, fixed, dial, &metrics) => found?,
        // Told to end before there was a map.
        () = shutdown.started() => return Ok(()),
    };
    let Found {
        directory,
        goes_by,
        _fixed,
    } = found;
    let context = context(&args, sealer, directory, health, metrics);
    let edge = Edge::bind(args.edge.clone(), context).await?;
    // Its links are a condition by now.
    match goes_by {
        Some(goes_by) => {
            tokio::spawn(tell(map, goes_by));
        }
        None => map.set(true, "there is one"),
    }
    page.show(edge.map_status(), edge.link_status());
    tracing::info!(edge = args.name, listen = %edge.local_addr()?, admin = %address, "edge ready");
    edge.run(shutdown.token()).await;
    admin_end.cancel();
    admin.await?;
    Ok(())
}

fn context(
    args: &EdgeRole,
    sealer: Arc<Sealer>,
    directory: watch::Receiver<Arc<Directory>>,
    health: Health,
    metrics: Metrics,
) -> EdgeContext {
    let cluster = &args.serve.cluster;
    EdgeContext {
        cluster: cluster.cluster.clone(),
        name: args.name.clone(),
        incarnation: incarnation(),
        shards: cluster.shards,
        sealer,
        session_lifetime: cluster.session_lifetime(),
        link_version: cluster.link_version,
        directory,
        health,
        metrics,
        drain: args.serve.drain.clone(),
        alone: false,
    }
}

/// Who owns what and where.
struct Found {
    directory: watch::Receiver<Arc<Directory>>,
    /// Where the map is from, if it ever changes.
    goes_by: Option<watch::Receiver<GoesBy>>,
    /// Keeps a map readable that never changes.
    _fixed: Option<watch::Sender<Arc<Directory>>>,
}

async fn directory(
    args: &EdgeRole,
    fixed: Option<Directory>,
    dial: Dial,
    metrics: &Metrics,
) -> Result<Found> {
    if let Some(fixed) = fixed {
        let (source, directory) = watch::channel(Arc::new(fixed));
        return Ok(Found {
            directory,
            goes_by: None,
            _fixed: Some(source),
        });
    }
    let source = args.members.source(&args.serve.cluster).await?;
    let source = source.context("the shard map has no source")?;
    follow::show_reached(metrics, source.reached());
    tracing::info!("waiting for the shard map");
    let tellers = tellers(&args.ask, &args.serve.cluster, dial.clone());
    let (maps, goes_by) = tellers.stand_in(source.follow());
    let directory = Directory::follow(maps, dial).await;
    Ok(Found {
        directory: directory.context("the shard map has no source")?,
        goes_by: Some(goes_by),
        _fixed: None,
    })
}

/// The directory of a map that never changes, where there is no register.
fn fixed(args: &EdgeRole, dial: &Dial) -> Result<Option<Directory>> {
    let alone = "--ask goes with --control or --shard-map: the map of --peer is known already";
    let asks = |way: Way<'_>| way != Way::Peers;
    args.members.check_ask(&args.ask, asks, alone)?;
    if args.members.has_register()? {
        return Ok(None);
    }
    let directory = args.members.directory(args.serve.cluster.shards, dial)?;
    Ok(Some(directory))
}

/// Says in the readiness where the map is from.
async fn tell(map: Condition, mut goes_by: watch::Receiver<GoesBy>) {
    loop {
        let now = *goes_by.borrow_and_update();
        map.set(now != GoesBy::Nothing, now.to_string());
        if goes_by.changed().await.is_err() {
            return;
        }
    }
}

/// Whether the edge could start, as far as its settings decide.
pub(super) fn check(args: &EdgeRole) -> Result<()> {
    fixed(args, &follow::way(None))?;
    args.link_tls.check(Role::Edge)?;
    args.serve.cluster.sealer()?;
    Ok(Edge::check(&args.edge)?)
}

/// What `/status` says; of map and links only once there is a map.
struct StatusPage {
    sealer: Arc<Sealer>,
    known: Arc<OnceLock<Known>>,
}

struct Known {
    map: Box<dyn Fn() -> MapStatus + Send + Sync>,
    links: Box<dyn Fn() -> Vec<LinkStatus> + Send + Sync>,
}

impl StatusPage {
    fn new(sealer: &Arc<Sealer>) -> Self {
        Self {
            sealer: Arc::clone(sealer),
            known: Arc::default(),
        }
    }

    fn of(&self, args: &EdgeRole) -> Status {
        let (name, cluster) = (args.name.clone(), args.serve.cluster.cluster.clone());
        let (sealer, known) = (Arc::clone(&self.sealer), Arc::clone(&self.known));
        Arc::new(move || {
            let map = known.get().map(|known| (known.map)());
            let links = known.get().map(|known| (known.links)());
            json!({
                "role": "edge",
                "name": name,
                "cluster": cluster,
                "version": env!("CARGO_PKG_VERSION"),
                "keys": shown(&sealer),
                "map_version": map.as_ref().map(|map| map.map_version),
                "shards": map.map(|map| map.shards).unwrap_or_default(),
                "links": links.unwrap_or_default(),
            })
        })
    }

    fn show(
        &self,
        map: impl Fn() -> MapStatus + Send + Sync + 'static,
        links: impl Fn() -> Vec<LinkStatus> + Send + Sync + 'static,
    ) {
        let known = Known {
            map: Box::new(map),
            links: Box::new(links),
        };
        // Shown once only: an edge has one map.
        let _ = self.known.set(known);
    }
}
