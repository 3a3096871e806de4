//! What it costs to delete a worker: `kubectl scale` then removes the cheapest.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_control::{Controller, Overview};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::pods::{Pods, WorkerPods};

/// The annotation that the ReplicaSet controller reads.
pub(crate) const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Between two looks; each difference is a write.
const LOOK: Duration = Duration::from_secs(15);
/// A cost that differs by less is left as it is.
const STEP: i64 = 8;
/// A whole core's load; a shard that is idle costs one.
const CORE: f64 = 1000.0;

/// Keeps the annotations up to date for as long as it runs.
pub(crate) async fn annotate(
    pods: Pods,
    controller: Controller,
    seen: watch::Receiver<WorkerPods>,
) {
    loop {
        sleep(LOOK).await;
        let due = due(&costs(&controller.overview()), &seen.borrow());
        for (name, cost) in due {
            let patch = json!({"metadata": {"annotations": {COST: cost.to_string()}}});
            let patch = Patch::Merge(&patch);
            let patched = pods
                .api()
                .patch(&name, &PatchParams::default(), &patch)
                .await;
            if let Err(error) = patched {
                tracing::debug!(pod = name, %error, "the cost of a pod is not written");
            }
        }
    }
}

/// By worker, what its shards take.
fn costs(overview: &Overview) -> BTreeMap<String, i64> {
    let alive = overview
        .workers
        .iter()
        .filter(|worker| worker.life == "alive");
    let cost = |shards: usize, load: Option<f64>| {
        let load = (load.unwrap_or_default() * CORE).round();
        load as i64 + i64::try_from(shards).unwrap_or_default()
    };
    alive
        .map(|worker| (worker.name.clone(), cost(worker.shards, worker.load)))
        .collect()
}

/// The pods whose annotation is out of date, and what it should be.
fn due(costs: &BTreeMap<String, i64>, pods: &WorkerPods) -> Vec<(String, i64)> {
    let differs = |name: &str, cost: i64| {
        let written = pods.get(name).map(|pod| pod.cost);
        written.is_some_and(|written| written.is_none_or(|old| (old - cost).abs() >= STEP))
    };
    let due = costs.iter().filter(|(name, cost)| differs(name, **cost));
    due.map(|(name, cost)| (name.clone(), *cost)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::WorkerPod;

    #[test]
    fn only_what_differs_is_written() {
        let pod = |cost| WorkerPod {
            cost,
            ..WorkerPod::default()
        };
        let pods: WorkerPods = [("a", Some(32)), ("b", None), ("c", Some(500))]
            .map(|(name, cost)| (name.to_owned(), pod(cost)))
            .into();
        let costs = [("a", 30), ("b", 30), ("c", 400), ("gone", 9)];
        let costs = costs.map(|(name, cost)| (name.to_owned(), cost)).into();
        let due = due(&costs, &pods);
        assert_eq!(due, [("b".to_owned(), 30), ("c".to_owned(), 400)]);
    }
}
