//! `hexagram operator`: the controller of a cluster in Kubernetes.

use std::future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hexagram_control::Overview;
use hexagram_operator::{KeyMetrics, KeySettings, KeyTimes, LinkSecrets, Operator, Standing};
use hexagram_runtime::admin::{Admin, Orders, Status};
use hexagram_runtime::health::{Condition, Health};
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::serve::refusal;
use hexagram_runtime::shutdown::Shutdown;
use hexagram_tls::{LinkTls, Role};
use http::StatusCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::cli::OperatorRole;
use crate::follow::way;
use crate::roles::overview;

pub(crate) async fn run(args: OperatorRole, shutdown: Shutdown) -> Result<()> {
    let place = args.namespace.place().await?;
    let metrics = Metrics::new();
    let operator = Operator::new(place, settings(&args, &metrics)?);
    let health = Health::new();
    let status = status(&args, operator.standing());
    let admin = Admin::bind(args.serve.admin.addr, health.clone(), metrics, status).await?;
    let admin = admin.with_orders(orders(operator.standing()));
    tracing::info!(operator = args.name, admin = %admin.local_addr(), "operator started");
    let condition = health.condition("lead");
    condition.set(true, "starting");
    let _ready = AbortOnDropHandle::new(tokio::spawn(ready(condition, operator.standing())));
    super::unready_at(&shutdown, health);
    let end = CancellationToken::new();
    let admin = tokio::spawn(admin.run(end.clone()));
    let ended = operator.run(shutdown.token()).await;
    end.cancel();
    admin.await?;
    Ok(ended?)
}

/// One that stands by is ready to.
async fn ready(condition: Condition, mut standing: watch::Receiver<Standing>) {
    loop {
        let now = standing.borrow_and_update().clone();
        match &now {
            Standing::Prepares(reason) => condition.set(false, reason.clone()),
            Standing::Leads(_) => condition.set(true, "leads"),
            Standing::Starting | Standing::StandsBy(_) => condition.set(true, waits(&now)),
        }
        if standing.changed().await.is_err() {
            return;
        }
    }
}

fn settings(args: &OperatorRole, metrics: &Metrics) -> Result<hexagram_operator::Settings> {
    let links = args.link_secrets.as_ref().map(|prefix| LinkSecrets {
        prefix: prefix.clone(),
        tls: LinkTls::new(Role::Controller, metrics),
    });
    let tls = match &links {
        Some(links) => Some(links.tls.clone()),
        None => args.link_tls.open(Role::Controller, metrics)?,
    };
    Ok(hexagram_operator::Settings {
        name: args.name.clone(),
        shard_map: args.shard_map.clone(),
        lease: args.lease.clone().unwrap_or_else(|| args.shard_map.clone()),
        keys: keys(args, metrics),
        upstreams_secret: args.upstreams_secret.clone(),
        names_taken: args
            .upstream_names_taken
            .iter()
            .map(ToString::to_string)
            .collect(),
        header_secrets: args.upstream_header_secrets.iter().cloned().collect(),
        links,
        workers: args.worker_selector.clone(),
        link_port: args.link_port,
        control: args
            .controller
            .settings(&args.serve.cluster, way(tls), metrics),
    })
}

fn keys(args: &OperatorRole, metrics: &Metrics) -> KeySettings {
    KeySettings {
        secret: args.keys_secret.clone(),
        times: KeyTimes {
            period: Duration::from_secs(args.keys_rotate * 86_400),
            settle: Duration::from_secs(args.keys_settle),
            lifetime: args.serve.cluster.session_lifetime(),
        },
        metrics: KeyMetrics::register(metrics),
    }
}

/// Who leads follows orders; another one says who that is.
fn orders(standing: watch::Receiver<Standing>) -> Orders {
    Arc::new(move |peer, request| {
        let now = standing.borrow().clone();
        let reason = match now {
            Standing::Leads(leading) => return leading.api.orders()(peer, request),
            Standing::StandsBy(holder) => {
                format!("this operator stands by: {holder} leads, give it the order")
            }
            Standing::Prepares(reason) => format!("this operator cannot lead yet: {reason}"),
            Standing::Starting => "this operator has only started: try again".to_owned(),
        };
        Box::pin(future::ready(refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            &reason,
        )))
    })
}

fn status(args: &OperatorRole, standing: watch::Receiver<Standing>) -> Status {
    let (name, cluster) = (args.name.clone(), args.serve.cluster.cluster.clone());
    Arc::new(move || {
        let now = standing.borrow().clone();
        let (map, overview) = match now.leading() {
            Some(leading) => (leading.map(), leading.controller.overview()),
            None => (
                None,
                Overview {
                    waiting: Some(waits(&now)),
                    ..Overview::default()
                },
            ),
        };
        overview::page("operator", &name, &cluster, map.as_deref(), &overview)
    })
}

fn waits(standing: &Standing) -> String {
    match standing {
        Standing::StandsBy(holder) => format!("for the lease, which {holder} has"),
        Standing::Prepares(reason) => reason.clone(),
        _ => "for the lease".to_owned(),
    }
}
