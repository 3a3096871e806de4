//! `hexagram control`: the controller of a process cluster.

use std::sync::Arc;

use anyhow::{Context, Result};
use hexagram_control::{Api, Controller, Maps, MemoryRegister, Register, RegisterError};
use hexagram_runtime::admin::{Admin, Status};
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::shutdown::Shutdown;
use hexagram_tls::Role;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::ControlRole;
use crate::follow::way;
use crate::mistake::Mistake;
use crate::roles::overview;

pub(crate) async fn run(args: ControlRole, shutdown: Shutdown) -> Result<()> {
    let cluster = &args.serve.cluster;
    let register = register(&args).await?;
    let at = args.control_listen;
    let listener = TcpListener::bind(at).await.with_context(|| {
        format!("listen for workers and edges on {at} (change it with --control-listen ADDR)")
    })?;
    let end = CancellationToken::new();
    let metrics = Metrics::new();
    let dial = way(args.link_tls.open(Role::Controller, &metrics)?);
    let settings = args.controller.settings(cluster, dial, &metrics);
    let controller = Controller::start(register.clone(), settings, end.clone());
    let status = status(
        cluster.cluster.clone(),
        register.watch(),
        controller.clone(),
    );
    let api = Api::new(
        controller,
        register.clone(),
        &cluster.cluster,
        cluster.shards,
    );
    let health = Health::new();
    let admin = Admin::bind(args.serve.admin.addr, health.clone(), metrics, status)
        .await?
        .with_orders(api.clone().orders());
    tracing::info!(listen = %listener.local_addr()?, admin = %admin.local_addr(), "control ready");
    super::unready_at(&shutdown, health);
    let admin = tokio::spawn(admin.run(end.clone()));
    api.run(listener, shutdown.token()).await;
    end.cancel();
    admin.await?;
    Ok(())
}

async fn register(args: &ControlRole) -> Result<MemoryRegister> {
    let cluster = &args.serve.cluster;
    let Some(file) = &args.state else {
        return Ok(MemoryRegister::default());
    };
    let opened = MemoryRegister::open(file.clone(), &cluster.cluster, cluster.shards);
    let unusable = |error: RegisterError| Mistake::File(error.to_string());
    Ok(opened.await.map_err(unusable)?)
}

fn status(cluster: String, maps: Maps, controller: Controller) -> Status {
    Arc::new(move || {
        let map = maps.borrow().clone();
        overview::page(
            "control",
            "control",
            &cluster,
            map.as_deref(),
            &controller.overview(),
        )
    })
}
