//! `hexagram edge`: the clients' side of a cluster.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use hexagram_edge::{Dial, Directory, Edge, EdgeContext, LinkStatus, MapStatus};
use hexagram_runtime::admin::{Admin, Status};
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::shutdown::Shutdown;
use hexagram_tls::Role;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::EdgeRole;
use crate::cluster::incarnation;
use crate::follow;

pub(crate) async fn run(args: EdgeRole, shutdown: Shutdown) -> Result<()> {
    let (health, metrics) = (Health::new(), Metrics::new());
    let dial = follow::way(args.link_tls.open(Role::Edge, &metrics)?);
    let map = health.condition("map");
    let page = StatusPage::default();
    let at = args.serve.admin.addr;
    let admin = Admin::bind(at, health.clone(), metrics.clone(), page.of(&args)).await?;
    let address = admin.local_addr();
    let admin_end = CancellationToken::new();
    let admin = tokio::spawn(admin.run(admin_end.clone()));
    map.set(false, "waiting for the shard map");
    super::unready_at(&shutdown, health.clone());
    let found = tokio::select! {
        found = directory(&args, dial, &metrics) => found?,
        // Told to end before there was a map.
        () = shutdown.started() => return Ok(()),
    };
    map.set(true, "there is one");
    let (_source, directory) = found;
    let context = context(&args, directory, health, metrics)?;
    let edge = Edge::bind(args.edge.clone(), context).await?;
    page.show(edge.map_status(), edge.link_status());
    tracing::info!(edge = args.name, listen = %edge.local_addr()?, admin = %address, "edge ready");
    edge.run(shutdown.token()).await;
    admin_end.cancel();
    admin.await?;
    Ok(())
}

fn context(
    args: &EdgeRole,
    directory: watch::Receiver<Arc<Directory>>,
    health: Health,
    metrics: Metrics,
) -> Result<EdgeContext> {
    let cluster = &args.serve.cluster;
    Ok(EdgeContext {
        cluster: cluster.cluster.clone(),
        name: args.name.clone(),
        incarnation: incarnation(),
        shards: cluster.shards,
        sealer: cluster.sealer()?,
        session_lifetime: cluster.session_lifetime(),
        link_version: cluster.link_version,
        directory,
        health,
        metrics,
        drain: args.serve.drain.clone(),
        alone: false,
    })
}

/// Who owns what and where. A static map never changes: its sender is kept so that
/// it stays readable.
async fn directory(
    args: &EdgeRole,
    dial: Dial,
    metrics: &Metrics,
) -> Result<(
    Option<watch::Sender<Arc<Directory>>>,
    watch::Receiver<Arc<Directory>>,
)> {
    let cluster = &args.serve.cluster;
    if let Some(source) = args.members.source(cluster).await? {
        follow::show_reached(metrics, source.reached());
        tracing::info!("waiting for the shard map");
        let directory = Directory::follow(source.follow(), dial).await;
        return Ok((None, directory.context("the shard map has no source")?));
    }
    let directory = args.members.directory(cluster.shards, &dial)?;
    let (source, directory) = watch::channel(Arc::new(directory));
    Ok((Some(source), directory))
}

/// Whether the edge could start, as far as its settings decide.
pub(super) fn check(args: &EdgeRole) -> Result<()> {
    let cluster = &args.serve.cluster;
    if !args.members.has_register()? {
        args.members.directory(cluster.shards, &follow::way(None))?;
    }
    args.link_tls.check(Role::Edge)?;
    cluster.sealer()?;
    Ok(Edge::check(&args.edge)?)
}

/// What `/status` says; of map and links only once there is a map.
#[derive(Clone, Default)]
struct StatusPage(Arc<OnceLock<Known>>);

struct Known {
    map: Box<dyn Fn() -> MapStatus + Send + Sync>,
    links: Box<dyn Fn() -> Vec<LinkStatus> + Send + Sync>,
}

impl StatusPage {
    fn of(&self, args: &EdgeRole) -> Status {
        let (name, cluster) = (args.name.clone(), args.serve.cluster.cluster.clone());
        let known = Arc::clone(&self.0);
        Arc::new(move || {
            let map = known.get().map(|known| (known.map)());
            let links = known.get().map(|known| (known.links)());
            json!({
                "role": "edge",
                "name": name,
                "cluster": cluster,
                "version": env!("CARGO_PKG_VERSION"),
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
        let _ = self.0.set(known);
    }
}
