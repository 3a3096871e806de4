//! `hexagram operator`: the controller of a cluster in Kubernetes.

use std::future::ready;
use std::sync::Arc;

use anyhow::Result;
use hexagram_control::Overview;
use hexagram_operator::{Operator, Standing};
use hexagram_runtime::admin::{Admin, Orders, Status};
use hexagram_runtime::health::Health;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::serve::refusal;
use hexagram_runtime::shutdown::Shutdown;
use http::StatusCode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::OperatorRole;
use crate::roles::overview;

pub(crate) async fn run(args: OperatorRole, shutdown: Shutdown) -> Result<()> {
    let place = args.namespace.place().await?;
    let operator = Operator::new(place, settings(&args));
    let health = Health::new();
    let status = status(&args, operator.standing());
    let (at, metrics) = (args.serve.admin.addr, Metrics::new());
    let admin = Admin::bind(at, health.clone(), metrics, status).await?;
    let admin = admin.with_orders(orders(operator.standing()));
    tracing::info!(operator = args.name, admin = %admin.local_addr(), "operator started");
    super::unready_at(&shutdown, health);
    let end = CancellationToken::new();
    let admin = tokio::spawn(admin.run(end.clone()));
    let ended = operator.run(shutdown.token()).await;
    end.cancel();
    admin.await?;
    Ok(ended?)
}

fn settings(args: &OperatorRole) -> hexagram_operator::Settings {
    hexagram_operator::Settings {
        name: args.name.clone(),
        shard_map: args.shard_map.clone(),
        lease: args.lease.clone().unwrap_or_else(|| args.shard_map.clone()),
        keys_secret: args.keys_secret.clone(),
        workers: args.worker_selector.clone(),
        link_port: args.link_port,
        control: args.controller.settings(&args.serve.cluster),
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
            Standing::Starting => "this operator has only started: try again".to_owned(),
        };
        Box::pin(ready(refusal(StatusCode::SERVICE_UNAVAILABLE, &reason)))
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
        _ => "for the lease".to_owned(),
    }
}
