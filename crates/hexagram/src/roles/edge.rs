//! `hexagram edge`: the clients' side of a cluster.

use std::sync::Arc;

use anyhow::{Context, Result};
use hexagram_edge::{Directory, Edge, EdgeContext, LinkStatus, MapStatus};
use hexagram_runtime::admin::{Admin, Status};
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::shutdown::Shutdown;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::EdgeRole;
use crate::cluster::incarnation;
use crate::follow;

pub(crate) async fn run(args: EdgeRole, shutdown: Shutdown) -> Result<()> {
    let (health, metrics) = (Health::new(), Metrics::new());
    let cluster = &args.serve.cluster;
    let found = tokio::select! {
        found = directory(&args) => found?,
        // Told to end before there was a map.
        () = shutdown.started() => return Ok(()),
    };
    let (_source, directory) = found;
    let context = EdgeContext {
        cluster: cluster.cluster.clone(),
        name: args.name.clone(),
        incarnation: incarnation(),
        shards: cluster.shards,
        sealer: cluster.sealer()?,
        session_lifetime: cluster.session_lifetime(),
        link_version: cluster.link_version,
        directory,
        health: health.clone(),
        metrics: metrics.clone(),
        drain: args.serve.drain.clone(),
        alone: false,
    };
    let edge = Edge::bind(args.edge.clone(), context).await?;
    let status = status(
        args.name.clone(),
        cluster.cluster.clone(),
        edge.map_status(),
        edge.link_status(),
    );
    let admin = Admin::bind(args.serve.admin.addr, health.clone(), metrics, status).await?;
    tracing::info!(edge = args.name, listen = %edge.local_addr()?, admin = %admin.local_addr(), "edge ready");
    let admin_end = CancellationToken::new();
    let admin = tokio::spawn(admin.run(admin_end.clone()));
    let drain = shutdown.token();
    super::unready_at(&shutdown, health);
    edge.run(drain).await;
    admin_end.cancel();
    admin.await?;
    Ok(())
}

/// Who owns what and where. A static map never changes: its sender is kept so that
/// it stays readable.
async fn directory(
    args: &EdgeRole,
) -> Result<(
    Option<watch::Sender<Arc<Directory>>>,
    watch::Receiver<Arc<Directory>>,
)> {
    let cluster = &args.serve.cluster;
    if let Some(source) = args.members.source(cluster).await? {
        tracing::info!("waiting for the shard map");
        let directory = Directory::follow(source.follow(), follow::over_tcp()).await;
        return Ok((None, directory.context("the shard map has no source")?));
    }
    let (source, directory) = watch::channel(Arc::new(args.members.directory(cluster.shards)?));
    Ok((Some(source), directory))
}

/// Whether the edge could start, as far as its settings decide.
pub(super) fn check(args: &EdgeRole) -> Result<()> {
    let cluster = &args.serve.cluster;
    if !args.members.has_register()? {
        args.members.directory(cluster.shards)?;
    }
    cluster.sealer()?;
    Ok(Edge::check(&args.edge)?)
}

fn status(
    name: String,
    cluster: String,
    map: impl Fn() -> MapStatus + Send + Sync + 'static,
    links: impl Fn() -> Vec<LinkStatus> + Send + Sync + 'static,
) -> Status {
    Arc::new(move || {
        let map = map();
        json!({
            "role": "edge",
            "name": name,
            "cluster": cluster,
            "version": env!("CARGO_PKG_VERSION"),
            "map_version": map.map_version,
            "shards": map.shards,
            "links": links(),
        })
    })
}
